#include "memory_copy.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "crc32c.h"
#include "crc32c_avx512.h"

namespace kvferry {
namespace {

// Fits the first-level cache beside the target lines, and a multiple of the checksum's long streams (3 x 8 KiB).
constexpr size_t kChecksumPiece = 24 * 1024;

#if defined(__x86_64__)

/// Streams whole cache lines; the ragged ends go through memcpy.
void StreamLines(uint8_t* target, const uint8_t* source, size_t bytes) noexcept {
  const size_t head = std::min(bytes, (64 - reinterpret_cast<uintptr_t>(target) % 64) % 64);
  std::memcpy(target, source, head);
  target += head;
  source += head;
  bytes -= head;
  for (; bytes >= 64; target += 64, source += 64, bytes -= 64) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + 16));
    const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + 32));
    const __m128i d = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + 48));
    _mm_stream_si128(reinterpret_cast<__m128i*>(target), a);
    _mm_stream_si128(reinterpret_cast<__m128i*>(target + 16), b);
    _mm_stream_si128(reinterpret_cast<__m128i*>(target + 32), c);
    _mm_stream_si128(reinterpret_cast<__m128i*>(target + 48), d);
  }
  std::memcpy(target, source, bytes);
}

/// Reads once, stores past the cache and folds the checksum in the same loop.
uint32_t StreamLinesCrc32c(uint8_t* target, const uint8_t* source, size_t bytes, uint32_t crc) noexcept {
  const size_t head = std::min(bytes, (64 - reinterpret_cast<uintptr_t>(target) % 64) % 64);
  const size_t whole = (bytes - head) / kAvx512Step * kAvx512Step;
  const size_t tail = head + whole;
  if (head > 0) {
    std::memcpy(target, source, head);
    crc = Crc32cExtend(crc, source, head);
  }
  if (whole > 0) crc = ~Avx512StreamCrc32c(~crc, target + head, source + head, whole);
  if (tail < bytes) {
    std::memcpy(target + tail, source + tail, bytes - tail);
    crc = Crc32cExtend(crc, source + tail, bytes - tail);
  }
  return crc;
}

#else

// AArch64's store pairs already avoid fetching lines that are written whole.
void StreamLines(uint8_t* target, const uint8_t* source, size_t bytes) noexcept { std::memcpy(target, source, bytes); }

#endif

}  // namespace

void StreamBytes(void* target, const void* source, size_t bytes) noexcept {
  if (bytes > 0) StreamLines(static_cast<uint8_t*>(target), static_cast<const uint8_t*>(source), bytes);
}

void StreamFence() noexcept {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

uint32_t StreamBytesCrc32c(void* target, const void* source, size_t bytes, uint32_t crc) noexcept {
  auto* to = static_cast<uint8_t*>(target);
  const auto* from = static_cast<const uint8_t*>(source);
#if defined(__x86_64__)
  if (HasAvx512Crc32c()) return StreamLinesCrc32c(to, from, bytes, crc);
#endif
  while (bytes > 0) {
    const size_t piece = std::min(bytes, kChecksumPiece);
    crc = Crc32cExtend(crc, from, piece);
    StreamLines(to, from, piece);
    to += piece;
    from += piece;
    bytes -= piece;
  }
  return crc;
}

uint32_t CacheBytesCrc32c(void* target, const void* source, size_t bytes, uint32_t crc) noexcept {
  auto* to = static_cast<uint8_t*>(target);
  const auto* from = static_cast<const uint8_t*>(source);
  while (bytes > 0) {
    const size_t piece = std::min(bytes, kChecksumPiece);
    crc = Crc32cExtend(crc, from, piece);
    std::memcpy(to, from, piece);
    to += piece;
    from += piece;
    bytes -= piece;
  }
  return crc;
}

uint64_t CacheResidentBytes() noexcept {
#ifdef _SC_LEVEL3_CACHE_SIZE
  static const long known = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return known > 0 ? static_cast<uint64_t>(known) / 4 : 0;
#else
  return 0;
#endif
}

void CopyBytes(void* target, const void* source, size_t bytes) noexcept {
  if (bytes < kStreamingBytes) {
    if (bytes > 0) std::memcpy(target, source, bytes);
    return;
  }
  StreamBytes(target, source, bytes);
  StreamFence();
}

uint32_t CopyBytesCrc32c(void* target, const void* source, size_t bytes, uint32_t crc) noexcept {
  if (bytes < kStreamingBytes) {
    crc = Crc32cExtend(crc, source, bytes);
    CopyBytes(target, source, bytes);
    return crc;
  }
  crc = StreamBytesCrc32c(target, source, bytes, crc);
  StreamFence();
  return crc;
}

}  // namespace kvferry
