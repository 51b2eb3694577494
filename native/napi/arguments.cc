#include "arguments.h"

#include <cmath>
#include <cstring>

namespace kvferry {
namespace {

constexpr size_t kMostSlotRefs = size_t{1} << 22;

const char* TypeName(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number:
      return "a number";
    case napi_string:
      return "a string";
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    default:
      return "an object";
  }
}

[[noreturn]] void ThrowWanted(const Napi::Value& value, const char* name, const char* wanted) { ThrowTypeError(value.Env(), std::string(name) + " is " + TypeName(value) + "; " + wanted + " is wanted"); }

template <typename T>
Span<T> TypedArrayArgument(const Napi::Value& value, const char* name, napi_typedarray_type wanted_type, const char* wanted) {
  napi_env env = value.Env();
  bool is_typed_array = false;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array) ThrowWanted(value, name, wanted);
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok) ThrowWanted(value, name, wanted);
  if (type != wanted_type) ThrowTypeError(value.Env(), std::string(name) + " is a typed array of another kind; " + wanted + " is wanted");
  if (data == nullptr) length = 0;
  return {static_cast<T*>(data), length};
}

Napi::Value Field(const Napi::Object& options, const char* name) { return options.Get(name); }

Napi::Error WithCode(Napi::Error error, const char* code) {
  error.Value().Set("code", code);
  return error;
}

}  // namespace

Napi::Error ErrorOf(Napi::Env env, const Status& status) {
  const std::string& message = status.message();
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
      return Napi::TypeError::New(env, message);
    case StatusCode::kOutOfRange:
      return Napi::RangeError::New(env, message);
    case StatusCode::kStaleHandle:
      return WithCode(Napi::RangeError::New(env, message), "KVFERRY_STALE_HANDLE");
    case StatusCode::kClosed:
      return WithCode(Napi::Error::New(env, message), "KVFERRY_CLOSED");
    case StatusCode::kBusy:
      return WithCode(Napi::Error::New(env, message), "KVFERRY_STATE");
    case StatusCode::kNameTaken:
      return WithCode(Napi::Error::New(env, message), "KVFERRY_SHARED_NAME");
    default:
      return WithCode(Napi::Error::New(env, message), "KVFERRY_NATIVE");
  }
}

void ThrowIfFailed(Napi::Env env, const Status& status) {
  if (!status.ok()) throw ErrorOf(env, status);
}

void ThrowTypeError(Napi::Env env, const std::string& message) { throw Napi::TypeError::New(env, message); }
void ThrowRangeError(Napi::Env env, const std::string& message) { throw Napi::RangeError::New(env, message); }

uint64_t IntegerArgument(const Napi::Value& value, const char* name, uint64_t least, uint64_t most) {
  double number = 0;
  if (napi_get_value_double(value.Env(), value, &number) != napi_ok) ThrowWanted(value, name, "a number");
  // Written so that NaN fails.
  const bool fits = number >= static_cast<double>(least) && number <= static_cast<double>(most) && number <= 9007199254740991.0;
  if (!fits || std::floor(number) != number) {
    const std::string got = value.ToString().Utf8Value();
    ThrowRangeError(value.Env(), std::string(name) + " is " + got + "; an integer of " + std::to_string(least) + " to " + std::to_string(most) + " is wanted");
  }
  return static_cast<uint64_t>(number);
}

bool BooleanArgument(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) ThrowWanted(value, name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string StringArgument(const Napi::Value& value, const char* name) {
  if (!value.IsString()) ThrowWanted(value, name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object ObjectArgument(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) ThrowWanted(value, name, "an object");
  return value.As<Napi::Object>();
}

Span<uint8_t> Uint8ArrayArgument(const Napi::Value& value, const char* name) { return TypedArrayArgument<uint8_t>(value, name, napi_uint8_array, "a Uint8Array"); }
Span<uint8_t> SharedUint8ArrayArgument(const Napi::Value& value, const char* name) {
  const Span<uint8_t> span = Uint8ArrayArgument(value, name);
  napi_value buffer = nullptr;
  bool is_plain = true;
  const bool known = napi_get_typedarray_info(value.Env(), value, nullptr, nullptr, nullptr, &buffer, nullptr) == napi_ok && napi_is_arraybuffer(value.Env(), buffer, &is_plain) == napi_ok;
  // What lies behind a typed array is an ArrayBuffer or a SharedArrayBuffer.
  if (!known || is_plain) ThrowTypeError(value.Env(), std::string(name) + " must be backed by a SharedArrayBuffer: a plain ArrayBuffer can be detached while a copy runs");
  return span;
}
Span<uint32_t> Uint32ArrayArgument(const Napi::Value& value, const char* name) { return TypedArrayArgument<uint32_t>(value, name, napi_uint32_array, "a Uint32Array"); }
Span<int32_t> Int32ArrayArgument(const Napi::Value& value, const char* name) { return TypedArrayArgument<int32_t>(value, name, napi_int32_array, "an Int32Array"); }
Span<double> Float64ArrayArgument(const Napi::Value& value, const char* name) { return TypedArrayArgument<double>(value, name, napi_float64_array, "a Float64Array"); }

void CheckLength(Napi::Env env, const char* name, size_t length, size_t least) {
  if (length < least) ThrowRangeError(env, std::string(name) + " has length " + std::to_string(length) + "; at least " + std::to_string(least) + " is wanted");
}

void CopySlotRefs(const Napi::Value& value, const char* name, std::vector<SlotRef>* refs) {
  const Span<uint32_t> words = Uint32ArrayArgument(value, name);
  if (words.length % 2 != 0 || words.length / 2 > kMostSlotRefs) {
    ThrowRangeError(value.Env(), std::string(name) + " has length " + std::to_string(words.length) + "; pairs of index and generation are wanted, at most " + std::to_string(kMostSlotRefs));
  }
  refs->resize(words.length / 2);
  if (words.length > 0) std::memcpy(refs->data(), words.data, words.length * sizeof(uint32_t));
}

void CopyUint32Array(const Napi::Value& value, const char* name, std::vector<uint32_t>* values) {
  const Span<uint32_t> words = Uint32ArrayArgument(value, name);
  values->assign(words.data, words.data + words.length);
}

uint64_t IntegerOption(const Napi::Object& options, const char* name, uint64_t least, uint64_t most, uint64_t if_undefined) {
  const Napi::Value value = Field(options, name);
  return value.IsUndefined() ? if_undefined : IntegerArgument(value, name, least, most);
}

bool BooleanOption(const Napi::Object& options, const char* name, bool if_undefined) {
  const Napi::Value value = Field(options, name);
  return value.IsUndefined() ? if_undefined : BooleanArgument(value, name);
}

std::string StringOption(const Napi::Object& options, const char* name, const std::string& if_undefined) {
  const Napi::Value value = Field(options, name);
  return value.IsUndefined() ? if_undefined : StringArgument(value, name);
}

}  // namespace kvferry
