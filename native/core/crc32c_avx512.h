// CRC-32C by carry-less multiplication on 512-bit vectors (VPCLMULQDQ), alone and together with a streaming copy: two to three
// times the crc instruction's rate, so that the checksum of a copy hides behind the memory. Built for x86-64 only, and used
// only where the processor and the system have it.
//
// Values are the raw register (inverted before and after by the caller).
//
// Thread safety: pure functions.
#ifndef KVFERRY_CORE_CRC32C_AVX512_H_
#define KVFERRY_CORE_CRC32C_AVX512_H_

#include <cstddef>
#include <cstdint>

namespace kvferry {

#if defined(__x86_64__)

/// Inputs and copies are taken in whole steps of this size.
constexpr size_t kAvx512Step = 256;

bool HasAvx512Crc32c() noexcept;

/// Extends `crc` over `bytes`. REQUIRES: HasAvx512Crc32c(), bytes a multiple of kAvx512Step and not 0.
uint32_t Avx512Crc32c(uint32_t crc, const uint8_t* data, size_t bytes) noexcept;

/// The same, and copies the bytes with non-temporal stores (no fence). REQUIRES besides: target on a 64-byte boundary.
uint32_t Avx512StreamCrc32c(uint32_t crc, uint8_t* target, const uint8_t* source, size_t bytes) noexcept;

#else

constexpr bool HasAvx512Crc32c() noexcept { return false; }

#endif

}  // namespace kvferry

#endif  // KVFERRY_CORE_CRC32C_AVX512_H_
