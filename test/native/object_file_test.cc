// The format of an object file: what is written comes back, and any change is seen.
#include "object_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "crc32c.h"
#include "test_random.h"

namespace kvferry {
namespace {

ObjectHeader SomeHeader() {
  ObjectHeader header;
  for (size_t i = 0; i < kDigestBytes; ++i) {
    header.key.namespace_digest[i] = static_cast<uint8_t>(i);
    header.key.chunk_hash[i] = static_cast<uint8_t>(255 - i);
  }
  header.key.kv_rank = 0x01020304;
  header.key.group_id = 5;
  header.payload_bytes = 123456789;
  header.padded_crc = 0xdeadbeef;
  header.written_at_ms = 1795373953942;
  header.description = "{\"modelName\":\"m\"}";
  return header;
}

TEST(ObjectFile, AHeaderComesBackAsItWas) {
  const ObjectHeader wanted = SomeHeader();
  std::vector<uint8_t> page(kObjectPageBytes);
  EncodeHeader(wanted, page.data());
  ObjectHeader got;
  std::string problem = "unset";
  ASSERT_EQ(DecodeHeader(page.data(), &got, &problem), HeaderState::kIntact);
  EXPECT_EQ(problem, "");
  EXPECT_TRUE(got.key == wanted.key);
  EXPECT_EQ(got.payload_bytes, wanted.payload_bytes);
  EXPECT_EQ(got.padded_crc, wanted.padded_crc);
  EXPECT_EQ(got.written_at_ms, wanted.written_at_ms);
  EXPECT_EQ(got.description, wanted.description);
}

// Files outlive programs: these offsets and values are a promise, and docs/object-format.md makes it.
TEST(ObjectFile, TheBytesOfVersion1) {
  std::vector<uint8_t> page(kObjectPageBytes);
  EncodeHeader(SomeHeader(), page.data());
  EXPECT_EQ(ToHex(page.data(), 32), "894b56460d0a1a0a" "01000000" "00100000" "15cd5b0700000000" "efbeadde" "00000000");
  EXPECT_EQ(ToHex(page.data() + 32, 4), "00010203");
  EXPECT_EQ(ToHex(page.data() + 64, 4), "fffefdfc");
  EXPECT_EQ(ToHex(page.data() + 96, 32), "04030201" "05000000" "9673a004a2010000" "11000000" "000000000000000000000000");
  EXPECT_EQ(std::string(reinterpret_cast<char*>(page.data()) + 128, 17), "{\"modelName\":\"m\"}");
  uint32_t crc;
  std::memcpy(&crc, page.data() + 4092, 4);
  EXPECT_EQ(crc, Crc32c(page.data(), 4092));
}

TEST(ObjectFile, EveryFlippedBitOfAHeaderIsSeen) {
  std::vector<uint8_t> page(kObjectPageBytes);
  EncodeHeader(SomeHeader(), page.data());
  ObjectHeader header;
  std::string problem;
  for (size_t bit = 0; bit < kObjectPageBytes * 8; ++bit) {
    page[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    ASSERT_EQ(DecodeHeader(page.data(), &header, &problem), HeaderState::kDamaged) << "bit " << bit;
    ASSERT_NE(problem, "");
    page[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
  }
  EXPECT_EQ(DecodeHeader(page.data(), &header, &problem), HeaderState::kIntact);
}

TEST(ObjectFile, AnotherVersionIsToldFromDamage) {
  ObjectHeader header = SomeHeader();
  header.format_version = 2;
  std::vector<uint8_t> page(kObjectPageBytes);
  EncodeHeader(header, page.data());
  std::string problem;
  EXPECT_EQ(DecodeHeader(page.data(), &header, &problem), HeaderState::kOtherVersion);
  EXPECT_EQ(problem, "format version 2; this program reads version 1");
}

TEST(ObjectFile, AnImpossibleDescriptionLengthIsDamageEvenUnderARightChecksum) {
  std::vector<uint8_t> page(kObjectPageBytes);
  EncodeHeader(SomeHeader(), page.data());
  const uint32_t length = kMaxDescriptionBytes + 1;
  std::memcpy(page.data() + 112, &length, 4);
  const uint32_t crc = Crc32c(page.data(), 4092);
  std::memcpy(page.data() + 4092, &crc, 4);
  ObjectHeader header;
  std::string problem;
  EXPECT_EQ(DecodeHeader(page.data(), &header, &problem), HeaderState::kDamaged);
}

TEST(ObjectFile, SizesArePages) {
  EXPECT_EQ(ObjectFileBytes(1), 8192u);
  EXPECT_EQ(ObjectFileBytes(4096), 8192u);
  EXPECT_EQ(ObjectFileBytes(4097), 12288u);
  EXPECT_EQ(ObjectFileBytes(UINT32_MAX), (uint64_t{1} << 32) + 4096);
}

TEST(ObjectFile, ThePaddedChecksumIsThatOfThePaddedBytes) {
  TestRandom random;
  for (int round = 0; round < 200; ++round) {
    std::vector<uint8_t> bytes(1 + random.Below(9000));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.Next());
    const uint32_t crc = Crc32c(bytes.data(), bytes.size());
    const uint32_t padded = PaddedCrc(crc, bytes.size());
    bytes.resize(PaddedBytes(bytes.size()));
    ASSERT_EQ(padded, Crc32c(bytes.data(), bytes.size()));
  }
}

TEST(ObjectFile, NamesParseBackAndNothingElseDoes) {
  TestRandom random;
  FileIdentity identity;
  for (int round = 0; round < 200; ++round) {
    for (uint8_t& byte : identity) byte = static_cast<uint8_t>(random.Next());
    const std::string name = ObjectName(identity.data());
    FileIdentity parsed;
    ASSERT_TRUE(ParseObjectName(name.c_str(), &parsed));
    ASSERT_EQ(parsed, identity);
    ASSERT_EQ(ObjectPath(identity.data()), "objects/" + name.substr(0, 2) + "/" + name.substr(2, 2) + "/" + name);
    std::string wrong = name;
    wrong[random.Below(41)] = 'G';
    ASSERT_FALSE(ParseObjectName(wrong.c_str(), &parsed));
  }
  for (const char* name : {"", ".", "x", "0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789abcdef.01234567", "0123456789abcdef0123456789abcdef.012345678"})
    EXPECT_FALSE(ParseObjectName(name, &identity)) << name;
}

TEST(ObjectFile, EveryFieldOfAKeyNamesAnotherFile) {
  const DiskKey key = SomeHeader().key;
  const FileIdentity identity = IdentityOf(key);
  DiskKey other = key;
  other.kv_rank ^= 1;
  EXPECT_NE(IdentityOf(other), identity);
  other = key;
  other.group_id ^= 1;
  EXPECT_NE(IdentityOf(other), identity);
  other = key;
  other.chunk_hash[31] ^= 1;
  EXPECT_NE(IdentityOf(other), identity);
  other = key;
  other.namespace_digest[31] ^= 1;
  EXPECT_NE(IdentityOf(other), identity);
  other = key;
  std::swap(other.kv_rank, other.group_id);
  EXPECT_NE(IdentityOf(other), identity);
}

}  // namespace
}  // namespace kvferry
