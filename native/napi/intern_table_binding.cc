#include "intern_table_binding.h"

#include <sys/random.h>

#include <chrono>
#include <string>

#include "arguments.h"
#include "env_data.h"

namespace kvferry {
namespace {

/// Secret, so that nobody who chooses chunk hashes can choose their buckets. Ids do not depend on it.
uint64_t RandomSeed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) == static_cast<ssize_t>(sizeof seed)) return seed;
  // Only a system call filter can refuse it; a seed that is merely hard to guess is then the best there is.
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) ^ reinterpret_cast<uintptr_t>(&seed);
}

std::vector<uint32_t>& Ids(const Napi::CallbackInfo& info) {
  std::vector<uint32_t>& ids = EnvData::Of(info.Env()).ids;
  CopyUint32Array(info[0], "ids", &ids);
  return ids;
}

}  // namespace

void InternTableBinding::Init(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(env, "InternTable",
                                           {
                                             InstanceMethod<&InternTableBinding::MemoryBytes>("memoryBytes"),
                                             InstanceMethod<&InternTableBinding::Intern>("intern"),
                                             InstanceMethod<&InternTableBinding::Find>("find"),
                                             InstanceMethod<&InternTableBinding::Retain>("retain"),
                                             InstanceMethod<&InternTableBinding::Release>("release"),
                                             InstanceMethod<&InternTableBinding::Records>("records"),
                                             InstanceMethod<&InternTableBinding::Generations>("generations"),
                                           });
  DefineGetter<&InternTableBinding::RecordBytes>(constructor, "recordBytes");
  DefineGetter<&InternTableBinding::Size>(constructor, "size");
  DefineGetter<&InternTableBinding::IdBound>(constructor, "idBound");
  exports.Set("InternTable", constructor);
}

InternTableBinding::InternTableBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<InternTableBinding>(info) {
  const uint32_t hash_bytes = Uint32Argument(info[0], "hashBytes", 1, InternTable::kMaxHashBytes);
  const uint32_t family_bytes = Uint32Argument(info[1], "familyBytes", 0, InternTable::kMaxFamilyBytes);
  table_ = std::make_unique<InternTable>(hash_bytes, family_bytes, RandomSeed());
  TagObject(info.This().As<Napi::Object>(), WrappedClass::kInternTable);
}

InternTable& InternTableBinding::TableOf(const Napi::Value& receiver) { return *Unwrap(CheckTag(receiver, WrappedClass::kInternTable, "this", "InternTable"))->table_; }

Napi::Value InternTableBinding::RecordBytes(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), TableOf(info.This()).record_bytes()); }
Napi::Value InternTableBinding::Size(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), TableOf(info.This()).size()); }
Napi::Value InternTableBinding::IdBound(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), TableOf(info.This()).id_bound()); }
Napi::Value InternTableBinding::MemoryBytes(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), static_cast<double>(table_->memory_bytes())); }

size_t InternTableBinding::RecordCount(const Napi::CallbackInfo& info, Span<uint8_t>* records) {
  *records = Uint8ArrayArgument(info[0], "records");
  const size_t count = records->length / table_->record_bytes();
  if (count * table_->record_bytes() != records->length) {
    ThrowRangeError(info.Env(), "records has length " + std::to_string(records->length) + "; a multiple of " + std::to_string(table_->record_bytes()) + " is wanted");
  }
  return count;
}

Napi::Value InternTableBinding::Intern(const Napi::CallbackInfo& info) {
  Span<uint8_t> records;
  const size_t count = RecordCount(info, &records);
  const Span<uint32_t> out = Uint32ArrayArgument(info[1], "outIds");
  CheckLength(info.Env(), "outIds", out.length, count);
  uint32_t inserted = 0;
  ThrowIfFailed(info.Env(), table_->Intern(records.data, count, out.data, &inserted));
  return Napi::Number::New(info.Env(), inserted);
}

Napi::Value InternTableBinding::Find(const Napi::CallbackInfo& info) {
  Span<uint8_t> records;
  const size_t count = RecordCount(info, &records);
  const Span<uint32_t> out = Uint32ArrayArgument(info[1], "outIds");
  CheckLength(info.Env(), "outIds", out.length, count);
  return Napi::Number::New(info.Env(), table_->Find(records.data, count, out.data));
}

void InternTableBinding::Retain(const Napi::CallbackInfo& info) {
  const std::vector<uint32_t>& ids = Ids(info);
  ThrowIfFailed(info.Env(), table_->Retain(ids.data(), ids.size()));
}

Napi::Value InternTableBinding::Release(const Napi::CallbackInfo& info) {
  const std::vector<uint32_t>& ids = Ids(info);
  uint32_t recycled = 0;
  ThrowIfFailed(info.Env(), table_->Release(ids.data(), ids.size(), &recycled));
  return Napi::Number::New(info.Env(), recycled);
}

void InternTableBinding::Records(const Napi::CallbackInfo& info) {
  const std::vector<uint32_t>& ids = Ids(info);
  const Span<uint8_t> out = Uint8ArrayArgument(info[1], "out");
  CheckLength(info.Env(), "out", out.length, ids.size() * table_->record_bytes());
  ThrowIfFailed(info.Env(), table_->Records(ids.data(), ids.size(), out.data));
}

void InternTableBinding::Generations(const Napi::CallbackInfo& info) {
  const std::vector<uint32_t>& ids = Ids(info);
  const Span<uint32_t> out = Uint32ArrayArgument(info[1], "out");
  CheckLength(info.Env(), "out", out.length, ids.size());
  ThrowIfFailed(info.Env(), table_->Generations(ids.data(), ids.size(), out.data));
}

}  // namespace kvferry
