#include "blake3.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace kvferry {
namespace {

constexpr size_t kBlockBytes = 64;
constexpr size_t kChunkBytes = 1024;

constexpr uint32_t kChunkStart = 1;
constexpr uint32_t kChunkEnd = 2;
constexpr uint32_t kParent = 4;
constexpr uint32_t kRoot = 8;

constexpr uint32_t kIv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/// Message word order of the seven rounds: the specification's permutation applied 0 to 6 times.
constexpr uint8_t kSchedule[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},  {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8}, {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1},
    {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6}, {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4}, {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

struct ChainingValue {
  uint32_t words[8];
};

inline uint32_t Rotate(uint32_t word, int count) noexcept { return (word >> count) | (word << (32 - count)); }

inline void Mix(uint32_t& a, uint32_t& b, uint32_t& c, uint32_t& d, uint32_t x, uint32_t y) noexcept {
  a += b + x;
  d = Rotate(d ^ a, 16);
  c += d;
  b = Rotate(b ^ c, 12);
  a += b + y;
  d = Rotate(d ^ a, 8);
  c += d;
  b = Rotate(b ^ c, 7);
}

/// Little-endian words of a block of up to 64 bytes, zero-padded.
void LoadBlock(const uint8_t* block, size_t bytes, uint32_t words[16]) noexcept {
  uint8_t padded[kBlockBytes] = {};
  if (bytes > 0) std::memcpy(padded, block, bytes);
  for (int i = 0; i < 16; ++i) {
    words[i] = static_cast<uint32_t>(padded[4 * i]) | static_cast<uint32_t>(padded[4 * i + 1]) << 8 | static_cast<uint32_t>(padded[4 * i + 2]) << 16 | static_cast<uint32_t>(padded[4 * i + 3]) << 24;
  }
}

/// The compression function, truncated to the chaining value (which is also the first 32 bytes of output).
void Compress(ChainingValue& value, const uint32_t m[16], uint32_t block_bytes, uint64_t counter, uint32_t flags) noexcept {
  const uint32_t* const h = value.words;
  uint32_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
  uint32_t v8 = kIv[0], v9 = kIv[1], v10 = kIv[2], v11 = kIv[3];
  uint32_t v12 = static_cast<uint32_t>(counter), v13 = static_cast<uint32_t>(counter >> 32), v14 = block_bytes, v15 = flags;
#pragma GCC unroll 7
  for (int round = 0; round < 7; ++round) {
    const uint8_t* const s = kSchedule[round];
    Mix(v0, v4, v8, v12, m[s[0]], m[s[1]]);
    Mix(v1, v5, v9, v13, m[s[2]], m[s[3]]);
    Mix(v2, v6, v10, v14, m[s[4]], m[s[5]]);
    Mix(v3, v7, v11, v15, m[s[6]], m[s[7]]);
    Mix(v0, v5, v10, v15, m[s[8]], m[s[9]]);
    Mix(v1, v6, v11, v12, m[s[10]], m[s[11]]);
    Mix(v2, v7, v8, v13, m[s[12]], m[s[13]]);
    Mix(v3, v4, v9, v14, m[s[14]], m[s[15]]);
  }
  value = {{v0 ^ v8, v1 ^ v9, v2 ^ v10, v3 ^ v11, v4 ^ v12, v5 ^ v13, v6 ^ v14, v7 ^ v15}};
}

constexpr ChainingValue InitialValue() { return {{kIv[0], kIv[1], kIv[2], kIv[3], kIv[4], kIv[5], kIv[6], kIv[7]}}; }

/// Chaining value of one chunk of up to 1 KiB; `root` when it is the whole input.
ChainingValue HashChunk(const uint8_t* data, size_t bytes, uint64_t chunk_number, bool root) noexcept {
  ChainingValue value = InitialValue();
  uint32_t flags = kChunkStart;
  uint32_t words[16];
  while (bytes > kBlockBytes) {
    LoadBlock(data, kBlockBytes, words);
    Compress(value, words, kBlockBytes, chunk_number, flags);
    flags = 0;
    data += kBlockBytes;
    bytes -= kBlockBytes;
  }
  LoadBlock(data, bytes, words);
  Compress(value, words, static_cast<uint32_t>(bytes), chunk_number, flags | kChunkEnd | (root ? kRoot : 0u));
  return value;
}

ChainingValue HashParent(const ChainingValue& left, const ChainingValue& right, bool root) noexcept {
  uint32_t words[16];
  std::copy(std::begin(left.words), std::end(left.words), words);
  std::copy(std::begin(right.words), std::end(right.words), words + 8);
  ChainingValue value = InitialValue();
  Compress(value, words, kBlockBytes, 0, kParent | (root ? kRoot : 0u));
  return value;
}

}  // namespace

void Blake3(const void* data, size_t bytes, uint8_t out[kBlake3Bytes]) noexcept {
  const auto* input = static_cast<const uint8_t*>(data);
  ChainingValue value;
  if (bytes <= kChunkBytes) {
    value = HashChunk(input, bytes, 0, true);
  } else {
    // The left subtrees that wait for their right side; one per set bit of the number of chunks so far.
    ChainingValue waiting[54];
    size_t depth = 0;
    const uint64_t last_chunk = (bytes - 1) / kChunkBytes;
    for (uint64_t chunk = 0; chunk < last_chunk; ++chunk) {
      value = HashChunk(input + chunk * kChunkBytes, kChunkBytes, chunk, false);
      for (uint64_t complete = chunk + 1; (complete & 1) == 0; complete >>= 1) value = HashParent(waiting[--depth], value, false);
      waiting[depth++] = value;
    }
    value = HashChunk(input + last_chunk * kChunkBytes, bytes - last_chunk * kChunkBytes, last_chunk, false);
    while (depth > 0) {
      --depth;
      value = HashParent(waiting[depth], value, depth == 0);
    }
  }
  for (int i = 0; i < 8; ++i) {
    for (int byte = 0; byte < 4; ++byte) out[4 * i + byte] = static_cast<uint8_t>(value.words[i] >> (8 * byte));
  }
}

void ChunkHashes(const uint32_t* tokens, size_t token_count, size_t chunk_tokens, const uint8_t* prefix, size_t prefix_bytes, uint8_t* out) {
  const size_t chunks = token_count / chunk_tokens;
  if (chunks == 0) return;
  std::vector<uint8_t> input(std::max(prefix_bytes, kBlake3Bytes) + chunk_tokens * 4);
  for (size_t chunk = 0; chunk < chunks; ++chunk) {
    const size_t before = chunk == 0 ? prefix_bytes : kBlake3Bytes;
    if (before > 0) std::memcpy(input.data(), prefix, before);
    uint8_t* position = input.data() + before;
    for (size_t i = 0; i < chunk_tokens; ++i, position += 4) {
      const uint32_t token = __builtin_bswap32(tokens[chunk * chunk_tokens + i]);
      std::memcpy(position, &token, 4);
    }
    uint8_t* const hash = out + chunk * kBlake3Bytes;
    Blake3(input.data(), before + chunk_tokens * 4, hash);
    prefix = hash;
  }
}

}  // namespace kvferry
