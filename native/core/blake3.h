// BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs, blake3.pdf): unkeyed, 32-byte output, any input length, one thread.
// Written for inputs of up to a few KiB (a token chunk): plain C++, one block after the other, about 1 GB/s.
//
// Also the rolling chunk hashes of the LMCache protocol, made of it.
//
// Thread safety: pure functions; any thread.
#ifndef KVFERRY_CORE_BLAKE3_H_
#define KVFERRY_CORE_BLAKE3_H_

#include <cstddef>
#include <cstdint>

namespace kvferry {

constexpr size_t kBlake3Bytes = 32;

void Blake3(const void* data, size_t bytes, uint8_t out[kBlake3Bytes]) noexcept;

/// Rolling hashes of token chunks: h(i) = BLAKE3(h(i-1) || tokens of chunk i as big-endian u32), h(-1) = `prefix`. Writes 32
/// bytes for each of the token_count / chunk_tokens full chunks; a partial last chunk is left out.
/// REQUIRES: chunk_tokens > 0.
void ChunkHashes(const uint32_t* tokens, size_t token_count, size_t chunk_tokens, const uint8_t* prefix, size_t prefix_bytes, uint8_t* out);

}  // namespace kvferry

#endif  // KVFERRY_CORE_BLAKE3_H_
