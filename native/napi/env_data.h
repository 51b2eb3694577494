// What the addon keeps per JavaScript environment (the main thread, each worker): scratch arrays, and nothing that another
// environment could see. Also the guard that keeps an object of one class, or of another copy of this addon, from being taken
// for one of another class.
#ifndef KVFERRY_NAPI_ENV_DATA_H_
#define KVFERRY_NAPI_ENV_DATA_H_

#include <cstdint>
#include <vector>

#include "napi_setup.h"
#include "slot_ref.h"

namespace kvferry {

struct EnvData {
  // Reused by every call, so that a call of a known size allocates nothing. No JavaScript runs between filling and using them.
  std::vector<SlotRef> refs;
  std::vector<SlotRef> more_refs;
  std::vector<uint32_t> ids;

  static void Install(Napi::Env env);
  static EnvData& Of(Napi::Env env);
};

enum class WrappedClass : uint64_t { kArena = 1, kInternTable, kEngine, kObjectFiles, kCpuDevice };

/// Marks `object`, in its constructor, as wrapping a C++ object of this class.
void TagObject(const Napi::Object& object, WrappedClass wrapped);
/// Throws TypeError unless `value` was marked so by this very copy of the addon. `name` is the argument's.
Napi::Object CheckTag(const Napi::Value& value, WrappedClass wrapped, const char* name, const char* class_name);

/// Defines `name` on the class's prototype with a getter that checks its receiver. Accessors of the class itself do not: any
/// wrapped object is taken for one of this class. (Methods are checked by V8.)
template <Napi::Value (*getter)(const Napi::CallbackInfo&)>
void DefineGetter(Napi::Function constructor, const char* name) {
  Napi::Object prototype = constructor.Get("prototype").As<Napi::Object>();
  prototype.DefineProperty(Napi::PropertyDescriptor::Accessor<getter>(name));
}

}  // namespace kvferry

#endif  // KVFERRY_NAPI_ENV_DATA_H_
