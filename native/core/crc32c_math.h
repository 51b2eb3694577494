// Arithmetic modulo the CRC-32C polynomial, at compile time: what combining checksums and folding vectors need.
// Polynomials are reflected: bit 31 is x^0.
#ifndef KVFERRY_CORE_CRC32C_MATH_H_
#define KVFERRY_CORE_CRC32C_MATH_H_

#include <cstdint>

namespace kvferry::crc32c_math {

constexpr uint32_t kPolynomial = 0x82f63b78;

/// a * b mod P.
constexpr uint32_t MultiplyModP(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b >> 1) ^ ((b & 1) != 0 ? kPolynomial : 0);
  }
  return product;
}

struct Powers {
  /// x^(8 * 2^n) mod P: appending 2^n zero bytes.
  uint32_t zero_bytes[64];
};

constexpr Powers MakePowers() {
  Powers powers{};
  uint32_t power = 1u << 23;  // x^8
  for (int n = 0; n < 64; ++n) {
    powers.zero_bytes[n] = power;
    power = MultiplyModP(power, power);
  }
  return powers;
}

inline constexpr Powers kPowers = MakePowers();

/// x^(8 * bytes) mod P.
constexpr uint32_t ZeroBytes(uint64_t bytes) {
  uint32_t power = 1u << 31;  // x^0
  for (int n = 0; bytes != 0; ++n, bytes >>= 1) {
    if ((bytes & 1) != 0) power = MultiplyModP(power, kPowers.zero_bytes[n]);
  }
  return power;
}

}  // namespace kvferry::crc32c_math

#endif  // KVFERRY_CORE_CRC32C_MATH_H_
