// CpuDeviceBinding: NativeCpuDevice of src/native/binding.ts. Marshalling only; cpu_device.h has the meaning.
//
// Registered arrays are held by references, so their memory stays. A device that is collected while operations run leaves its
// references behind for good: memory that a copy thread reads must never be freed. Only shared memory is taken: JavaScript can
// take a plain ArrayBuffer away (transfer, shrink) under a running copy.
#ifndef KVFERRY_NAPI_CPU_DEVICE_BINDING_H_
#define KVFERRY_NAPI_CPU_DEVICE_BINDING_H_

#include <cstdint>
#include <map>
#include <memory>

#include "cpu_device.h"
#include "napi_setup.h"

namespace kvferry {

class CpuDeviceBinding : public Napi::ObjectWrap<CpuDeviceBinding> {
 public:
  static void Init(Napi::Env env, Napi::Object exports);

  explicit CpuDeviceBinding(const Napi::CallbackInfo& info);
  ~CpuDeviceBinding() override;

 private:
  Napi::Value RegisterMemory(const Napi::CallbackInfo& info);
  void UnregisterMemory(const Napi::CallbackInfo& info);
  Napi::Value RegisterLayout(const Napi::CallbackInfo& info);
  void UnregisterLayout(const Napi::CallbackInfo& info);
  Napi::Value ImageBytes(const Napi::CallbackInfo& info);
  void Gather(const Napi::CallbackInfo& info);
  void Scatter(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::unique_ptr<CpuDevice> device_;
  std::map<uint32_t, Napi::ObjectReference> memory_;
};

}  // namespace kvferry

#endif  // KVFERRY_NAPI_CPU_DEVICE_BINDING_H_
