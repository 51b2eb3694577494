#include "wake_gate.h"

namespace kvferry {
namespace {

void CallWake(napi_env env, napi_value wake, void* /*context*/, void* /*data*/) {
  // Both are null when the function is being torn down.
  if (env == nullptr || wake == nullptr) return;
  napi_value receiver;
  if (napi_get_undefined(env, &receiver) != napi_ok) return;
  // An exception of the callback stays pending, and Node reports it as uncaught.
  napi_call_function(env, receiver, wake, 0, nullptr, nullptr);
}

}  // namespace

void WakeGate::Open(Napi::Env env, const Napi::Function& wake) {
  Shut();
  napi_threadsafe_function function = nullptr;
  // The queue is unlimited, but the ring's coalescing keeps it at one or two.
  const napi_status status = napi_create_threadsafe_function(env, wake, nullptr, Napi::String::New(env, "kvferry completions"), 0, 1, nullptr, nullptr, nullptr, CallWake, &function);
  if (status != napi_ok) throw Napi::Error::New(env, "the wake-up function could not be made");
  {
    std::lock_guard<std::mutex> lock(mutex_);
    function_ = function;
  }
  SetBusy(env, busy_);
}

void WakeGate::Wake() noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  if (function_ == nullptr) return;
  // Anything but ok means that it is closing: from then on it must not be touched.
  if (napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking) != napi_ok) function_ = nullptr;
}

void WakeGate::SetBusy(Napi::Env env, bool busy) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  busy_ = busy;
  if (function_ == nullptr) return;
  if (busy) {
    napi_ref_threadsafe_function(env, function_);
  } else {
    napi_unref_threadsafe_function(env, function_);
  }
}

void WakeGate::Shut() noexcept {
  napi_threadsafe_function function = nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    function = function_;
    function_ = nullptr;
  }
  if (function != nullptr) napi_release_threadsafe_function(function, napi_tsfn_abort);
}

}  // namespace kvferry
