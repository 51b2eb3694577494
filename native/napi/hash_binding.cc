#include "hash_binding.h"

#include <string>

#include "arguments.h"
#include "blake3.h"
#include "crc32c.h"

namespace kvferry {
namespace {

Napi::Value Crc32cOf(const Napi::CallbackInfo& info) {
  const Span<uint8_t> bytes = Uint8ArrayArgument(info[0], "bytes");
  return Napi::Number::New(info.Env(), Crc32c(bytes.data, bytes.length));
}

Napi::Value Blake3Of(const Napi::CallbackInfo& info) {
  const Span<uint8_t> bytes = Uint8ArrayArgument(info[0], "bytes");
  Napi::Uint8Array out = Napi::Uint8Array::New(info.Env(), kBlake3Bytes);
  Blake3(bytes.data, bytes.length, out.Data());
  return out;
}

Napi::Value ChunkHashesOf(const Napi::CallbackInfo& info) {
  const Span<uint32_t> tokens = Uint32ArrayArgument(info[0], "tokens");
  const uint32_t chunk_tokens = Uint32Argument(info[1], "chunkTokens", 1);
  const Span<uint8_t> prefix = Uint8ArrayArgument(info[2], "prefix");
  if (prefix.length != kBlake3Bytes) ThrowRangeError(info.Env(), "prefix has length " + std::to_string(prefix.length) + "; 32 is wanted");
  Napi::Uint8Array out = Napi::Uint8Array::New(info.Env(), tokens.length / chunk_tokens * kBlake3Bytes);
  ChunkHashes(tokens.data, tokens.length, chunk_tokens, prefix.data, prefix.length, out.Data());
  return out;
}

}  // namespace

void InitHashes(Napi::Env env, Napi::Object exports) {
  exports.Set("crc32c", Napi::Function::New<Crc32cOf>(env, "crc32c"));
  exports.Set("blake3", Napi::Function::New<Blake3Of>(env, "blake3"));
  exports.Set("chunkHashes", Napi::Function::New<ChunkHashesOf>(env, "chunkHashes"));
}

}  // namespace kvferry
