// Reading arguments and throwing errors, for all bindings. Whatever JavaScript passes, the answer is an exception with a
// sentence that names the argument, what came and what is wanted; never undefined behaviour.
//
// Arrays that decide over memory (references, ids) are copied before they are checked: they may lie in a SharedArrayBuffer
// that another thread writes between the check and the use.
//
// Thread safety: JavaScript thread only. Every function throws Napi::Error.
#ifndef KVFERRY_NAPI_ARGUMENTS_H_
#define KVFERRY_NAPI_ARGUMENTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "napi_setup.h"
#include "slot_ref.h"
#include "status.h"

namespace kvferry {

/// Memory of a typed array, valid until control returns to JavaScript. A detached array has length 0.
template <typename T>
struct Span {
  T* data;
  size_t length;
};

/// The exception that belongs to a Status; see status.h for the table.
Napi::Error ErrorOf(Napi::Env env, const Status& status);
void ThrowIfFailed(Napi::Env env, const Status& status);

[[noreturn]] void ThrowTypeError(Napi::Env env, const std::string& message);
[[noreturn]] void ThrowRangeError(Napi::Env env, const std::string& message);

/// An integer of least..most, which must be exact as a double.
uint64_t IntegerArgument(const Napi::Value& value, const char* name, uint64_t least, uint64_t most);
inline uint32_t Uint32Argument(const Napi::Value& value, const char* name, uint32_t least = 0, uint32_t most = UINT32_MAX) {
  return static_cast<uint32_t>(IntegerArgument(value, name, least, most));
}
bool BooleanArgument(const Napi::Value& value, const char* name);
std::string StringArgument(const Napi::Value& value, const char* name);
Napi::Object ObjectArgument(const Napi::Value& value, const char* name);

/// A typed array of exactly this element type (Buffer is a Uint8Array).
Span<uint8_t> Uint8ArrayArgument(const Napi::Value& value, const char* name);
Span<uint32_t> Uint32ArrayArgument(const Napi::Value& value, const char* name);
Span<int32_t> Int32ArrayArgument(const Napi::Value& value, const char* name);
Span<double> Float64ArrayArgument(const Napi::Value& value, const char* name);

/// A Uint8Array whose memory can be neither detached nor shrunk while the array lives.
Span<uint8_t> SharedUint8ArrayArgument(const Napi::Value& value, const char* name);

/// Throws unless `length` is at least (RangeError) what is wanted.
void CheckLength(Napi::Env env, const char* name, size_t length, size_t least);

/// Copies a SlotRefs array into `refs`. At most 2^22 references.
void CopySlotRefs(const Napi::Value& value, const char* name, std::vector<SlotRef>* refs);
/// Copies a Uint32Array into `values`.
void CopyUint32Array(const Napi::Value& value, const char* name, std::vector<uint32_t>* values);

// Fields of an options object; undefined means the default.
uint64_t IntegerOption(const Napi::Object& options, const char* name, uint64_t least, uint64_t most, uint64_t if_undefined);
bool BooleanOption(const Napi::Object& options, const char* name, bool if_undefined);
std::string StringOption(const Napi::Object& options, const char* name, const std::string& if_undefined);

}  // namespace kvferry

#endif  // KVFERRY_NAPI_ARGUMENTS_H_
