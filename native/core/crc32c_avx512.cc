#include "crc32c_avx512.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "cpu_features.h"
#include "crc32c_math.h"

#define KVFERRY_AVX512 __attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.2,crc32")))

namespace kvferry {
namespace {

// Moving a 128-bit lane `bits` further along the message multiplies its halves by x^(bits + 32) and x^(bits - 32) mod P
// (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009). The product of two
// reflected polynomials is one bit short, hence the shift.
constexpr int64_t FoldLow(uint64_t bits) { return static_cast<int64_t>(uint64_t{crc32c_math::ZeroBytes((bits + 32) / 8)} << 1); }
constexpr int64_t FoldHigh(uint64_t bits) { return static_cast<int64_t>(uint64_t{crc32c_math::ZeroBytes((bits - 32) / 8)} << 1); }

KVFERRY_AVX512 inline __m512i Fold(__m512i value, __m512i constants, __m512i next) {
  const __m512i low = _mm512_clmulepi64_epi128(value, constants, 0x00);
  const __m512i high = _mm512_clmulepi64_epi128(value, constants, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, 0x96);  // xor of the three
}

template <bool kCopy>
KVFERRY_AVX512 inline __m512i Load(uint8_t* target, const uint8_t* source) {
  const __m512i value = _mm512_loadu_si512(source);
  if (kCopy) _mm512_stream_si512(reinterpret_cast<__m512i*>(target), value);
  return value;
}

template <bool kCopy>
KVFERRY_AVX512 inline uint32_t Run(uint32_t crc, uint8_t* target, const uint8_t* source, size_t bytes) {
  constexpr int64_t kLow = FoldLow(8 * kAvx512Step);
  constexpr int64_t kHigh = FoldHigh(8 * kAvx512Step);
  constexpr int64_t kVectorLow = FoldLow(512);
  constexpr int64_t kVectorHigh = FoldHigh(512);
  const __m512i step = _mm512_set_epi64(kHigh, kLow, kHigh, kLow, kHigh, kLow, kHigh, kLow);
  const __m512i vector = _mm512_set_epi64(kVectorHigh, kVectorLow, kVectorHigh, kVectorLow, kVectorHigh, kVectorLow, kVectorHigh, kVectorLow);

  __m512i a = Load<kCopy>(target, source);
  __m512i b = Load<kCopy>(target + 64, source + 64);
  __m512i c = Load<kCopy>(target + 128, source + 128);
  __m512i d = Load<kCopy>(target + 192, source + 192);
  // The register so far is the remainder of what came before: it goes into the first four bytes.
  a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(crc))));
  for (size_t offset = kAvx512Step; offset < bytes; offset += kAvx512Step) {
    a = Fold(a, step, Load<kCopy>(target + offset, source + offset));
    b = Fold(b, step, Load<kCopy>(target + offset + 64, source + offset + 64));
    c = Fold(c, step, Load<kCopy>(target + offset + 128, source + offset + 128));
    d = Fold(d, step, Load<kCopy>(target + offset + 192, source + offset + 192));
  }
  d = Fold(Fold(Fold(a, vector, b), vector, c), vector, d);
  // 64 bytes with the same remainder as everything; the crc instruction reduces them.
  alignas(64) uint64_t words[8];
  _mm512_store_si512(words, d);
  uint64_t remainder = 0;
  for (const uint64_t word : words) remainder = _mm_crc32_u64(remainder, word);
  return static_cast<uint32_t>(remainder);
}

}  // namespace

bool HasAvx512Crc32c() noexcept {
  static const bool has = cpu_features::HasAvx512Clmul();
  return has;
}

KVFERRY_AVX512 uint32_t Avx512Crc32c(uint32_t crc, const uint8_t* data, size_t bytes) noexcept { return Run<false>(crc, nullptr, data, bytes); }

KVFERRY_AVX512 uint32_t Avx512StreamCrc32c(uint32_t crc, uint8_t* target, const uint8_t* source, size_t bytes) noexcept { return Run<true>(crc, target, source, bytes); }

}  // namespace kvferry

#endif
