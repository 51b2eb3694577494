#include "env_data.h"

#include <string>

#include "arguments.h"

namespace kvferry {
namespace {

// Its address differs between copies of the addon in one process, whose classes may be laid out differently.
const char kThisCopy = 0;

napi_type_tag TagOf(WrappedClass wrapped) { return {reinterpret_cast<uintptr_t>(&kThisCopy), 0x6b76666572727900 + static_cast<uint64_t>(wrapped)}; }

}  // namespace

void EnvData::Install(Napi::Env env) { env.SetInstanceData<EnvData>(new EnvData); }

EnvData& EnvData::Of(Napi::Env env) { return *env.GetInstanceData<EnvData>(); }

void TagObject(const Napi::Object& object, WrappedClass wrapped) {
  const napi_type_tag tag = TagOf(wrapped);
  object.TypeTag(&tag);
}

Napi::Object CheckTag(const Napi::Value& value, WrappedClass wrapped, const char* name, const char* class_name) {
  const napi_type_tag tag = TagOf(wrapped);
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag)) ThrowTypeError(value.Env(), std::string(name) + " is not a native " + class_name);
  return value.As<Napi::Object>();
}

}  // namespace kvferry
