// The addon's entry: one Init per class, called once per JavaScript environment.
#include <string>

// Known once a header of the C library has been read.
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

#include "arena_binding.h"
#include "bench_binding.h"
#include "cpu_device_binding.h"
#include "crc32c.h"
#include "engine_binding.h"
#include "env_data.h"
#include "file_lock_binding.h"
#include "hash_binding.h"
#include "intern_table_binding.h"
#include "napi_setup.h"
#include "object_files_binding.h"

#ifndef KVFERRY_VERSION
#define KVFERRY_VERSION "unknown"
#endif

namespace kvferry {
namespace {

std::string Compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}

std::string Libc() {
#if defined(__GLIBC__)
  return std::string("glibc ") + gnu_get_libc_version();
#else
  return "musl or another";
#endif
}

Napi::Value BuildInfo(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("version", KVFERRY_VERSION);
  object.Set("compiler", Compiler());
  object.Set("libc", Libc());
  object.Set("crc32c", Crc32cImplementation());
  object.Set("napiVersion", std::to_string(NAPI_VERSION));
  return object;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  EnvData::Install(env);
  exports.Set("version", KVFERRY_VERSION);
  exports.Set("buildInfo", Napi::Function::New<BuildInfo>(env, "buildInfo"));
  InitHashes(env, exports);
  InitFileLock(env, exports);
  ArenaBinding::Init(env, exports);
  InternTableBinding::Init(env, exports);
  EngineBinding::Init(env, exports);
  ObjectFilesBinding::Init(env, exports);
  CpuDeviceBinding::Init(env, exports);
  InitBench(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(kvferry, Init)

}  // namespace kvferry
