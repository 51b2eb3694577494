// EngineBinding: NativeEngine of src/native/binding.ts, and the life of an engine inside a JavaScript environment.
//
// An engine ends by close(), by garbage collection, or with its environment (the end of a worker, an empty event loop),
// whichever comes first: the gate to JavaScript is shut, then the threads are joined. While operations are pending the
// object refers to itself, so that it cannot be collected under them.
#ifndef KVFERRY_NAPI_ENGINE_BINDING_H_
#define KVFERRY_NAPI_ENGINE_BINDING_H_

#include <memory>

#include "engine.h"
#include "napi_setup.h"
#include "wake_gate.h"

namespace kvferry {

class EngineBinding : public Napi::ObjectWrap<EngineBinding> {
 public:
  static void Init(Napi::Env env, Napi::Object exports);
  /// The engine of a NativeEngine argument. Throws TypeError for anything else.
  static std::shared_ptr<Engine> FromArgument(const Napi::Value& value, const char* name);

  explicit EngineBinding(const Napi::CallbackInfo& info);
  ~EngineBinding() override;

 private:
  /// What the environment's end must shut, apart from the JavaScript object.
  struct Core {
    std::shared_ptr<Engine> engine;
    WakeGate gate;
    bool shut = false;
    void Shut() noexcept;
  };
  static void ShutCore(void* core);

  void OnWake(const Napi::CallbackInfo& info);
  Napi::Value Drain(const Napi::CallbackInfo& info);
  Napi::Value NeededWords(const Napi::CallbackInfo& info);
  Napi::Value Step(const Napi::CallbackInfo& info);
  Napi::Value Stats(const Napi::CallbackInfo& info);
  void CopySlots(const Napi::CallbackInfo& info);
  void ChecksumSlots(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  const napi_env env_;
  Core core_;
  bool hooked_ = false;
};

}  // namespace kvferry

#endif  // KVFERRY_NAPI_ENGINE_BINDING_H_
