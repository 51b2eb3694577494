#include "file_lock_binding.h"

#include <cstdint>

#include "arguments.h"
#include "file_lock.h"

namespace kvferry {
namespace {

Napi::Value LockFileAt(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), LockFile(StringArgument(info[0], "path"))); }

Napi::Value UnlockFileOf(const Napi::CallbackInfo& info) {
  const auto handle = static_cast<int32_t>(IntegerArgument(info[0], "handle", 1, INT32_MAX));
  return Napi::Boolean::New(info.Env(), UnlockFile(handle));
}

}  // namespace

void InitFileLock(Napi::Env env, Napi::Object exports) {
  exports.Set("lockFile", Napi::Function::New<LockFileAt>(env, "lockFile"));
  exports.Set("unlockFile", Napi::Function::New<UnlockFileOf>(env, "unlockFile"));
}

}  // namespace kvferry
