#include "crc32c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "memory_copy.h"
#include "test_random.h"

namespace kvferry {
namespace {

/// One bit at a time, straight from the definition.
uint32_t Reference(const uint8_t* data, size_t bytes) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < bytes; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

std::vector<uint8_t> RandomBytes(TestRandom& random, size_t bytes) {
  std::vector<uint8_t> data(bytes);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random.Next());
  return data;
}

TEST(Crc32cTest, AnswersTheVectorsOfRfc3720) {
  EXPECT_EQ(Crc32c("", 0), 0u);
  EXPECT_EQ(Crc32c("123456789", 9), 0xe3069283u);
  std::vector<uint8_t> block(32, 0);
  EXPECT_EQ(Crc32c(block.data(), 32), 0x8a9136aau);
  std::fill(block.begin(), block.end(), uint8_t{0xff});
  EXPECT_EQ(Crc32c(block.data(), 32), 0x62a8ab43u);
  for (int i = 0; i < 32; ++i) block[static_cast<size_t>(i)] = static_cast<uint8_t>(i);
  EXPECT_EQ(Crc32c(block.data(), 32), 0x46dd794eu);
  for (int i = 0; i < 32; ++i) block[static_cast<size_t>(i)] = static_cast<uint8_t>(31 - i);
  EXPECT_EQ(Crc32c(block.data(), 32), 0x113fdb5cu);
}

TEST(Crc32cTest, EveryImplementationAgreesAtEveryLengthAndAlignment) {
  TestRandom random;
  const std::vector<uint8_t> data = RandomBytes(random, 2100);
  for (size_t bytes = 0; bytes <= 2080; bytes += bytes < 300 ? 1 : 37) {
    const size_t offset = random.Below(16);
    const uint32_t expected = Reference(data.data() + offset, bytes);
    ASSERT_EQ(Crc32c(data.data() + offset, bytes), expected) << Crc32cImplementation() << " " << bytes << " bytes";
    ASSERT_EQ(Crc32cScalar(0, data.data() + offset, bytes), expected) << bytes << " bytes";
    ASSERT_EQ(Crc32cSoftware(0, data.data() + offset, bytes), expected) << bytes << " bytes";
  }
}

TEST(Crc32cTest, LongInputsAgreeWithSoftwareAndInPieces) {
  TestRandom random;
  const std::vector<uint8_t> data = RandomBytes(random, 300'000);
  for (int round = 0; round < 50; ++round) {
    const size_t bytes = random.Below(300'000);
    const uint32_t whole = Crc32c(data.data(), bytes);
    ASSERT_EQ(whole, Crc32cSoftware(0, data.data(), bytes));
    ASSERT_EQ(whole, Crc32cScalar(0, data.data(), bytes));
    const size_t cut = bytes == 0 ? 0 : random.Below(static_cast<uint32_t>(bytes));
    const uint32_t first = Crc32c(data.data(), cut);
    ASSERT_EQ(Crc32cExtend(first, data.data() + cut, bytes - cut), whole);
    ASSERT_EQ(Crc32cCombine(first, Crc32c(data.data() + cut, bytes - cut), bytes - cut), whole);
  }
}

TEST(Crc32cTest, NoticesEveryFlippedBit) {
  std::vector<uint8_t> data(97, 0x5a);
  const uint32_t intact = Crc32c(data.data(), data.size());
  for (size_t bit = 0; bit < data.size() * 8; ++bit) {
    data[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    ASSERT_NE(Crc32c(data.data(), data.size()), intact);
    data[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

TEST(MemoryCopyTest, CopiesAnyLengthAndAlignmentAndNothingBeside) {
  TestRandom random;
  const std::vector<uint8_t> source = RandomBytes(random, 400'000);
  for (int round = 0; round < 200; ++round) {
    const size_t bytes = random.OneIn(2) ? random.Below(300) : random.Below(300'000);
    const size_t from = random.Below(70);
    const size_t to = 1 + random.Below(70);
    std::vector<uint8_t> target(to + bytes + 1, 0xee);
    if (random.OneIn(2)) {
      CopyBytes(target.data() + to, source.data() + from, bytes);
    } else {
      const uint32_t before = static_cast<uint32_t>(random.Next());
      ASSERT_EQ(CopyBytesCrc32c(target.data() + to, source.data() + from, bytes, before), Crc32cExtend(before, source.data() + from, bytes));
    }
    ASSERT_EQ(std::memcmp(target.data() + to, source.data() + from, bytes), 0) << bytes << " bytes";
    ASSERT_EQ(target[to - 1], 0xee);
    ASSERT_EQ(target[to + bytes], 0xee);
  }
}

}  // namespace
}  // namespace kvferry
