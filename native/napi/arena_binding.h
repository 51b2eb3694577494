// ArenaBinding: NativeArena of src/native/binding.ts. Marshalling only; arena.h has the meaning.
#ifndef KVFERRY_NAPI_ARENA_BINDING_H_
#define KVFERRY_NAPI_ARENA_BINDING_H_

#include <memory>

#include "arena.h"
#include "napi_setup.h"

namespace kvferry {

class ArenaBinding : public Napi::ObjectWrap<ArenaBinding> {
 public:
  static void Init(Napi::Env env, Napi::Object exports);
  /// The arena of a NativeArena argument; operations keep it alive with the shared_ptr. Throws TypeError for anything else.
  static std::shared_ptr<Arena> FromArgument(const Napi::Value& value, const char* name);

  explicit ArenaBinding(const Napi::CallbackInfo& info);

 private:
  static Napi::Value CapacityBytes(const Napi::CallbackInfo& info);
  static Napi::Value AlignBytes(const Napi::CallbackInfo& info);
  Napi::Value UsedBytes(const Napi::CallbackInfo& info);
  Napi::Value Allocate(const Napi::CallbackInfo& info);
  Napi::Value Free(const Napi::CallbackInfo& info);
  void BeginIo(const Napi::CallbackInfo& info);
  void EndIo(const Napi::CallbackInfo& info);
  Napi::Value Seal(const Napi::CallbackInfo& info);
  void Write(const Napi::CallbackInfo& info);
  void Read(const Napi::CallbackInfo& info);
  void Checksums(const Napi::CallbackInfo& info);
  void Offsets(const Napi::CallbackInfo& info);
  Napi::Value Stats(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::shared_ptr<Arena> arena_;
};

}  // namespace kvferry

#endif  // KVFERRY_NAPI_ARENA_BINDING_H_
