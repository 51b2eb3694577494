// InternTableBinding: NativeInternTable of src/native/binding.ts. Marshalling only; intern_table.h has the meaning.
#ifndef KVFERRY_NAPI_INTERN_TABLE_BINDING_H_
#define KVFERRY_NAPI_INTERN_TABLE_BINDING_H_

#include <memory>

#include "arguments.h"
#include "intern_table.h"
#include "napi_setup.h"

namespace kvferry {

class InternTableBinding : public Napi::ObjectWrap<InternTableBinding> {
 public:
  static void Init(Napi::Env env, Napi::Object exports);

  explicit InternTableBinding(const Napi::CallbackInfo& info);

 private:
  /// Reads the first argument as whole records.
  size_t RecordCount(const Napi::CallbackInfo& info, Span<uint8_t>* records);

  /// The table of a receiver; throws TypeError when it is none.
  static InternTable& TableOf(const Napi::Value& receiver);
  static Napi::Value RecordBytes(const Napi::CallbackInfo& info);
  static Napi::Value Size(const Napi::CallbackInfo& info);
  static Napi::Value IdBound(const Napi::CallbackInfo& info);
  Napi::Value MemoryBytes(const Napi::CallbackInfo& info);
  Napi::Value Intern(const Napi::CallbackInfo& info);
  Napi::Value Find(const Napi::CallbackInfo& info);
  void Retain(const Napi::CallbackInfo& info);
  Napi::Value Release(const Napi::CallbackInfo& info);
  void Records(const Napi::CallbackInfo& info);
  void Generations(const Napi::CallbackInfo& info);

  std::unique_ptr<InternTable> table_;
};

}  // namespace kvferry

#endif  // KVFERRY_NAPI_INTERN_TABLE_BINDING_H_
