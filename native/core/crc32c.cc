#include "crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define KVFERRY_CRC_X86 1
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define KVFERRY_CRC_ARM 1
#endif

#include "cpu_features.h"
#include "crc32c_avx512.h"
#include "crc32c_math.h"

namespace kvferry {
namespace {

using crc32c_math::kPolynomial;
using crc32c_math::MultiplyModP;
using crc32c_math::ZeroBytes;

using Function = uint32_t (*)(uint32_t crc, const uint8_t* data, size_t bytes) noexcept;

// ---- software: eight bytes at a time through eight tables ----

struct Tables {
  uint32_t rows[8][256];
};

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables.rows[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (int row = 1; row < 8; ++row) tables.rows[row][i] = (tables.rows[row - 1][i] >> 8) ^ tables.rows[0][tables.rows[row - 1][i] & 0xff];
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint64_t Load64(const uint8_t* data) noexcept {
  uint64_t value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

/// Works on the raw register (not inverted at the ends), as do the hardware versions.
uint32_t Software(uint32_t crc, const uint8_t* data, size_t bytes) noexcept {
  const auto& t = kTables.rows;
  for (; bytes >= 8; data += 8, bytes -= 8) {
    const uint64_t word = Load64(data) ^ crc;
    crc = t[7][word & 0xff] ^ t[6][(word >> 8) & 0xff] ^ t[5][(word >> 16) & 0xff] ^ t[4][(word >> 24) & 0xff] ^ t[3][(word >> 32) & 0xff] ^ t[2][(word >> 40) & 0xff] ^
          t[1][(word >> 48) & 0xff] ^ t[0][word >> 56];
  }
  for (; bytes > 0; ++data, --bytes) crc = (crc >> 8) ^ t[0][(crc ^ *data) & 0xff];
  return crc;
}

// ---- hardware: three streams, because the crc instruction takes three cycles and starts every cycle ----

#if defined(KVFERRY_CRC_X86) || defined(KVFERRY_CRC_ARM)

// Long enough that joining the streams is lost in the noise, short enough for objects of a few KiB.
constexpr size_t kLongStream = 8192;
constexpr size_t kShortStream = 256;

/// Multiplication by a fixed x^(8 n) as four table look-ups.
struct ShiftTable {
  uint32_t rows[4][256];
};

constexpr ShiftTable MakeShiftTable(uint64_t zero_bytes) {
  ShiftTable table{};
  const uint32_t power = ZeroBytes(zero_bytes);
  // Linear: the row of one bit each, and the rest are sums.
  for (int row = 0; row < 4; ++row) {
    for (uint32_t bit = 0; bit < 8; ++bit) table.rows[row][1u << bit] = MultiplyModP(power, 1u << (8 * row + bit));
    for (uint32_t i = 1; i < 256; ++i) {
      const uint32_t low = i & (0 - i);
      if (i != low) table.rows[row][i] = table.rows[row][low] ^ table.rows[row][i ^ low];
    }
  }
  return table;
}

constexpr ShiftTable kLongShift = MakeShiftTable(kLongStream);
constexpr ShiftTable kShortShift = MakeShiftTable(kShortStream);

inline uint32_t Shift(const ShiftTable& table, uint32_t crc) noexcept {
  return table.rows[0][crc & 0xff] ^ table.rows[1][(crc >> 8) & 0xff] ^ table.rows[2][(crc >> 16) & 0xff] ^ table.rows[3][crc >> 24];
}

#if defined(KVFERRY_CRC_X86)
#define KVFERRY_CRC_TARGET __attribute__((target("sse4.2,crc32")))
#define KVFERRY_CRC_STEP8(crc, word) static_cast<uint32_t>(_mm_crc32_u64((crc), (word)))
#define KVFERRY_CRC_STEP1(crc, byte) _mm_crc32_u8((crc), (byte))
#else
#define KVFERRY_CRC_TARGET __attribute__((target("+crc")))
#define KVFERRY_CRC_STEP8(crc, word) __crc32cd((crc), (word))
#define KVFERRY_CRC_STEP1(crc, byte) __crc32cb((crc), (byte))
#endif

template <size_t kStream>
KVFERRY_CRC_TARGET inline uint32_t ThreeStreams(const ShiftTable& shift, uint32_t crc, const uint8_t*& data, size_t& bytes) noexcept {
  while (bytes >= 3 * kStream) {
    uint32_t crc1 = 0;
    uint32_t crc2 = 0;
    for (size_t offset = 0; offset < kStream; offset += 8) {
      crc = KVFERRY_CRC_STEP8(crc, Load64(data + offset));
      crc1 = KVFERRY_CRC_STEP8(crc1, Load64(data + kStream + offset));
      crc2 = KVFERRY_CRC_STEP8(crc2, Load64(data + 2 * kStream + offset));
    }
    crc = Shift(shift, crc) ^ crc1;
    crc = Shift(shift, crc) ^ crc2;
    data += 3 * kStream;
    bytes -= 3 * kStream;
  }
  return crc;
}

KVFERRY_CRC_TARGET uint32_t Hardware(uint32_t crc, const uint8_t* data, size_t bytes) noexcept {
  crc = ThreeStreams<kLongStream>(kLongShift, crc, data, bytes);
  crc = ThreeStreams<kShortStream>(kShortShift, crc, data, bytes);
  for (; bytes >= 8; data += 8, bytes -= 8) crc = KVFERRY_CRC_STEP8(crc, Load64(data));
  for (; bytes > 0; ++data, --bytes) crc = KVFERRY_CRC_STEP1(crc, *data);
  return crc;
}

#endif

#if defined(KVFERRY_CRC_X86)
/// Vectors for what is long enough to pay for folding them at the end, the crc instruction for the rest.
uint32_t Vector(uint32_t crc, const uint8_t* data, size_t bytes) noexcept {
  constexpr size_t kLeast = 1024;
  if (bytes >= kLeast) {
    const size_t whole = bytes / kAvx512Step * kAvx512Step;
    crc = Avx512Crc32c(crc, data, whole);
    data += whole;
    bytes -= whole;
  }
  return Hardware(crc, data, bytes);
}
#endif

struct Choice {
  Function function;
  const char* name;
};

Choice Choose() noexcept {
#if defined(KVFERRY_CRC_X86)
  if (HasAvx512Crc32c()) return {Vector, "avx512-vpclmulqdq"};
  if (cpu_features::HasSse42()) return {Hardware, "sse4.2"};
#elif defined(KVFERRY_CRC_ARM)
  if ((getauxval(AT_HWCAP) & HWCAP_CRC32) != 0) return {Hardware, "armv8-crc"};
#endif
  return {Software, "software"};
}

const Choice& Chosen() noexcept {
  static const Choice choice = Choose();
  return choice;
}

}  // namespace

uint32_t Crc32cExtend(uint32_t crc, const void* data, size_t bytes) noexcept { return ~Chosen().function(~crc, static_cast<const uint8_t*>(data), bytes); }

uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t bytes_b) noexcept { return MultiplyModP(ZeroBytes(bytes_b), crc_a) ^ crc_b; }

const char* Crc32cImplementation() noexcept { return Chosen().name; }

uint32_t Crc32cScalar(uint32_t crc, const void* data, size_t bytes) noexcept {
#if defined(KVFERRY_CRC_X86)
  if (cpu_features::HasSse42()) return ~Hardware(~crc, static_cast<const uint8_t*>(data), bytes);
#endif
  return Crc32cExtend(crc, data, bytes);
}

uint32_t Crc32cSoftware(uint32_t crc, const void* data, size_t bytes) noexcept { return ~Software(~crc, static_cast<const uint8_t*>(data), bytes); }

}  // namespace kvferry
