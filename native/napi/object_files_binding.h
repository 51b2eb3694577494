// ObjectFilesBinding: NativeObjectFiles of src/native/binding.ts, and inspectObjectFile. Marshalling only; object_files.h has
// the meaning.
#ifndef KVFERRY_NAPI_OBJECT_FILES_BINDING_H_
#define KVFERRY_NAPI_OBJECT_FILES_BINDING_H_

#include <memory>

#include "napi_setup.h"
#include "object_files.h"

namespace kvferry {

class ObjectFilesBinding : public Napi::ObjectWrap<ObjectFilesBinding> {
 public:
  static void Init(Napi::Env env, Napi::Object exports);

  explicit ObjectFilesBinding(const Napi::CallbackInfo& info);

 private:
  void RegisterNamespace(const Napi::CallbackInfo& info);
  Napi::Value DirectIoState(const Napi::CallbackInfo& info);
  void Digests(const Napi::CallbackInfo& info);
  void Store(const Napi::CallbackInfo& info);
  void Load(const Napi::CallbackInfo& info);
  void Remove(const Napi::CallbackInfo& info);
  void Scan(const Napi::CallbackInfo& info);
  Napi::Value TakeScan(const Napi::CallbackInfo& info);
  Napi::Value FileBytesFor(const Napi::CallbackInfo& info);
  Napi::Value Inspect(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::unique_ptr<ObjectFiles> files_;
};

}  // namespace kvferry

#endif  // KVFERRY_NAPI_OBJECT_FILES_BINDING_H_
