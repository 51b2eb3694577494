#include "object_file.h"

#include <string.h>

#include "blake3.h"
#include "crc32c.h"

namespace kvferry {
namespace {

// The high bit and the line ends catch a file that was moved as text, as PNG's does.
constexpr uint8_t kMagic[8] = {0x89, 'K', 'V', 'F', '\r', '\n', 0x1a, '\n'};

constexpr size_t kVersionAt = 8;
constexpr size_t kHeaderBytesAt = 12;
constexpr size_t kPayloadBytesAt = 16;
constexpr size_t kPaddedCrcAt = 24;
constexpr size_t kNamespaceAt = 32;
constexpr size_t kHashAt = 64;
constexpr size_t kRankAt = 96;
constexpr size_t kGroupAt = 100;
constexpr size_t kWrittenAt = 104;
constexpr size_t kDescriptionBytesAt = 112;
constexpr size_t kDescriptionAt = 128;
constexpr size_t kHeaderCrcAt = 4092;
static_assert(kDescriptionAt + kMaxDescriptionBytes == kHeaderCrcAt, "the description ends where the checksum begins");

// Little-endian hosts only, as src/keys/key-batch.ts says; the build refuses others.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "kvferry supports little-endian hosts only");

template <class T>
void Put(uint8_t* page, size_t at, T value) {
  memcpy(page + at, &value, sizeof value);
}

template <class T>
T Get(const uint8_t* page, size_t at) {
  T value;
  memcpy(&value, page + at, sizeof value);
  return value;
}

int HexValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

}  // namespace

std::string ToHex(const uint8_t* bytes, size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(count * 2, '0');
  for (size_t i = 0; i < count; ++i) {
    text[2 * i] = kDigits[bytes[i] >> 4];
    text[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return text;
}

FileIdentity IdentityOf(const DiskKey& key) {
  uint8_t bytes[2 * kDigestBytes + 8];
  memcpy(bytes, key.namespace_digest.data(), kDigestBytes);
  memcpy(bytes + kDigestBytes, key.chunk_hash.data(), kDigestBytes);
  Put(bytes, 2 * kDigestBytes, key.kv_rank);
  Put(bytes, 2 * kDigestBytes + 4, key.group_id);
  uint8_t digest[32];
  Blake3(bytes, sizeof bytes, digest);
  FileIdentity identity;
  memcpy(identity.data(), digest, 16);
  memcpy(identity.data() + 16, key.namespace_digest.data(), 4);
  return identity;
}

std::string ObjectName(const uint8_t* identity) { return ToHex(identity, 16) + "." + ToHex(identity + 16, 4); }

std::string ObjectPath(const uint8_t* identity) { return "objects/" + ToHex(identity, 1) + "/" + ToHex(identity + 1, 1) + "/" + ObjectName(identity); }

bool ParseObjectName(const char* name, FileIdentity* identity) {
  if (strlen(name) != 41 || name[32] != '.') return false;
  for (size_t i = 0; i < kIdentityBytes; ++i) {
    const char* digits = name + 2 * i + (i < 16 ? 0 : 1);
    const int high = HexValue(digits[0]);
    const int low = HexValue(digits[1]);
    if (high < 0 || low < 0) return false;
    (*identity)[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

uint32_t PaddedCrc(uint32_t payload_crc, uint64_t payload_bytes) {
  static constexpr uint8_t kZeros[kObjectPageBytes] = {};
  return Crc32cExtend(payload_crc, kZeros, PaddedBytes(payload_bytes) - payload_bytes);
}

void EncodeHeader(const ObjectHeader& header, uint8_t page[kObjectPageBytes]) {
  memset(page, 0, kObjectPageBytes);
  memcpy(page, kMagic, sizeof kMagic);
  Put(page, kVersionAt, header.format_version);
  Put(page, kHeaderBytesAt, static_cast<uint32_t>(kObjectPageBytes));
  Put(page, kPayloadBytesAt, header.payload_bytes);
  Put(page, kPaddedCrcAt, header.padded_crc);
  memcpy(page + kNamespaceAt, header.key.namespace_digest.data(), kDigestBytes);
  memcpy(page + kHashAt, header.key.chunk_hash.data(), kDigestBytes);
  Put(page, kRankAt, header.key.kv_rank);
  Put(page, kGroupAt, header.key.group_id);
  Put(page, kWrittenAt, header.written_at_ms);
  Put(page, kDescriptionBytesAt, static_cast<uint32_t>(header.description.size()));
  memcpy(page + kDescriptionAt, header.description.data(), header.description.size());
  Put(page, kHeaderCrcAt, Crc32c(page, kHeaderCrcAt));
}

HeaderState DecodeHeader(const uint8_t page[kObjectPageBytes], ObjectHeader* header, std::string* problem) {
  if (memcmp(page, kMagic, sizeof kMagic) != 0) {
    *problem = "it does not begin with the magic of an object file";
    return HeaderState::kDamaged;
  }
  const uint32_t crc = Get<uint32_t>(page, kHeaderCrcAt);
  if (crc != Crc32c(page, kHeaderCrcAt)) {
    *problem = "the header does not match its checksum";
    return HeaderState::kDamaged;
  }
  header->format_version = Get<uint32_t>(page, kVersionAt);
  if (header->format_version != kObjectFormatVersion) {
    *problem = "format version " + std::to_string(header->format_version) + "; this program reads version " + std::to_string(kObjectFormatVersion);
    return HeaderState::kOtherVersion;
  }
  const uint32_t description_bytes = Get<uint32_t>(page, kDescriptionBytesAt);
  if (Get<uint32_t>(page, kHeaderBytesAt) != kObjectPageBytes || description_bytes > kMaxDescriptionBytes) {
    *problem = "the header's own lengths are impossible";
    return HeaderState::kDamaged;
  }
  header->payload_bytes = Get<uint64_t>(page, kPayloadBytesAt);
  header->padded_crc = Get<uint32_t>(page, kPaddedCrcAt);
  memcpy(header->key.namespace_digest.data(), page + kNamespaceAt, kDigestBytes);
  memcpy(header->key.chunk_hash.data(), page + kHashAt, kDigestBytes);
  header->key.kv_rank = Get<uint32_t>(page, kRankAt);
  header->key.group_id = Get<uint32_t>(page, kGroupAt);
  header->written_at_ms = Get<uint64_t>(page, kWrittenAt);
  header->description.assign(reinterpret_cast<const char*>(page + kDescriptionAt), description_bytes);
  problem->clear();
  return HeaderState::kIntact;
}

}  // namespace kvferry
