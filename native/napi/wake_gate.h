// WakeGate: the way from worker threads into JavaScript, which can be shut while they knock.
//
// Calling a thread-safe function whose environment is gone aborts Node 20 and 22. So workers call it under the gate's lock,
// and whoever ends the environment (close, garbage collection, the end of a worker thread) shuts the gate first.
//
// Thread safety: Wake from any thread; the rest on the JavaScript thread.
#ifndef KVFERRY_NAPI_WAKE_GATE_H_
#define KVFERRY_NAPI_WAKE_GATE_H_

#include <mutex>

#include "napi_setup.h"

namespace kvferry {

class WakeGate {
 public:
  WakeGate() = default;
  ~WakeGate() { Shut(); }
  WakeGate(const WakeGate&) = delete;
  WakeGate& operator=(const WakeGate&) = delete;

  /// Calls `wake` from now on, instead of what was called before. Throws Napi::Error.
  void Open(Napi::Env env, const Napi::Function& wake);
  /// Has the function called soon, once for all calls until then. Does nothing before Open and after Shut.
  void Wake() noexcept;
  /// Whether a wake-up that may come keeps the event loop alive.
  void SetBusy(Napi::Env env, bool busy) noexcept;
  /// No call reaches JavaScript afterwards. Idempotent.
  void Shut() noexcept;

 private:
  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;  // guarded by mutex_
  bool busy_ = false;
};

}  // namespace kvferry

#endif  // KVFERRY_NAPI_WAKE_GATE_H_
