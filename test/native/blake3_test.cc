#include "blake3.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

namespace kvferry {
namespace {

std::string Hex(const uint8_t* bytes, size_t count) {
  std::string text;
  char byte[3];
  for (size_t i = 0; i < count; ++i) {
    std::snprintf(byte, sizeof byte, "%02x", bytes[i]);
    text += byte;
  }
  return text;
}

std::string HashOfCounting(size_t bytes) {
  std::vector<uint8_t> input(bytes);
  for (size_t i = 0; i < bytes; ++i) input[i] = static_cast<uint8_t>(i % 251);
  uint8_t hash[kBlake3Bytes];
  Blake3(input.data(), input.size(), hash);
  return Hex(hash, sizeof hash);
}

// test_vectors.json of the BLAKE3 repository: input byte i is i mod 251, first 32 bytes of "hash".
TEST(Blake3Test, AnswersThePublishedVectors) {
  EXPECT_EQ(HashOfCounting(0), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
  EXPECT_EQ(HashOfCounting(1), "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213");
  EXPECT_EQ(HashOfCounting(1023), "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11");
  EXPECT_EQ(HashOfCounting(1024), "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7");
  EXPECT_EQ(HashOfCounting(1025), "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444");
  EXPECT_EQ(HashOfCounting(2048), "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a");
  EXPECT_EQ(HashOfCounting(2049), "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030");
  EXPECT_EQ(HashOfCounting(3072), "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2");
  EXPECT_EQ(HashOfCounting(31744), "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47");
  EXPECT_EQ(HashOfCounting(102400), "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085");
}

TEST(ChunkHashesTest, EachHashIsOfThePreviousAndTheTokensInBigEndian) {
  const std::vector<uint32_t> tokens = {1, 0x01020304, 0xffffffff, 7, 5};
  const std::vector<uint8_t> prefix(32, 0x11);
  std::vector<uint8_t> hashes(2 * kBlake3Bytes);
  ChunkHashes(tokens.data(), tokens.size(), 2, prefix.data(), prefix.size(), hashes.data());

  std::vector<uint8_t> input = prefix;
  for (uint8_t byte : {0, 0, 0, 1, 1, 2, 3, 4}) input.push_back(byte);
  uint8_t first[kBlake3Bytes];
  Blake3(input.data(), input.size(), first);
  EXPECT_EQ(Hex(hashes.data(), 32), Hex(first, 32));

  input.assign(first, first + 32);
  for (uint8_t byte : {255, 255, 255, 255, 0, 0, 0, 7}) input.push_back(byte);
  uint8_t second[kBlake3Bytes];
  Blake3(input.data(), input.size(), second);
  EXPECT_EQ(Hex(hashes.data() + 32, 32), Hex(second, 32));
}

}  // namespace
}  // namespace kvferry
