// ObjectFile: the format of one object in a file (docs/object-format.md). A header page, then the payload, padded with zeros
// to a whole number of pages, so that O_DIRECT can move all of it straight from and to a slot.
//
//   offset  bytes  field (little-endian)
//        0      8  magic: 89 'K' 'V' 'F' 0d 0a 1a 0a
//        8      4  format version, 1
//       12      4  header bytes, 4096
//       16      8  payload bytes
//       24      4  crc32c of the payload and its padding
//       28      4  zero
//       32     32  namespace digest (model, salt and image)
//       64     32  chunk hash
//       96      4  kv rank
//      100      4  object group id
//      104      8  written at, ms since the epoch
//      112      4  description bytes
//      116     12  zero
//      128   3964  description: JSON for people, then zeros
//     4092      4  crc32c of bytes 0..4091
//
// Every bit of a file is covered by one of the two checksums, and the length by both the header and the file's own size.
//
// Thread safety: functions of their arguments.
#ifndef KVFERRY_CORE_OBJECT_FILE_H_
#define KVFERRY_CORE_OBJECT_FILE_H_

#include <array>
#include <cstdint>
#include <string>

namespace kvferry {

constexpr uint64_t kObjectPageBytes = 4096;
constexpr uint32_t kObjectFormatVersion = 1;
constexpr size_t kMaxDescriptionBytes = 3964;

/// A key record of JavaScript (src/keys/key-batch.ts): what follows the hash is the process-local namespace id, rank, group.
constexpr size_t kKeyRecordBytes = 48;
constexpr size_t kDigestBytes = 32;
/// 16 bytes of key digest and 4 of namespace tag: what names a file.
constexpr size_t kIdentityBytes = 20;

using Digest = std::array<uint8_t, kDigestBytes>;
using FileIdentity = std::array<uint8_t, kIdentityBytes>;

/// The key as it stands on disk: without anything that only one process knows.
struct DiskKey {
  Digest namespace_digest{};
  Digest chunk_hash{};
  uint32_t kv_rank = 0;
  uint32_t group_id = 0;

  friend bool operator==(const DiskKey& a, const DiskKey& b) {
    return a.namespace_digest == b.namespace_digest && a.chunk_hash == b.chunk_hash && a.kv_rank == b.kv_rank && a.group_id == b.group_id;
  }
};

/// First 16 bytes of BLAKE3(namespace digest, chunk hash, kv rank, group id), then 4 bytes of the namespace digest.
FileIdentity IdentityOf(const DiskKey& key);

/// "objects/xx/yy/<32 hex>.<8 hex>", xx and yy being the first two bytes.
std::string ObjectPath(const uint8_t* identity);
std::string ObjectName(const uint8_t* identity);
/// False when `name` is not one that ObjectName gives.
bool ParseObjectName(const char* name, FileIdentity* identity);

std::string ToHex(const uint8_t* bytes, size_t count);

struct ObjectHeader {
  uint32_t format_version = kObjectFormatVersion;
  DiskKey key;
  uint64_t payload_bytes = 0;
  /// Over the payload and its padding.
  uint32_t padded_crc = 0;
  uint64_t written_at_ms = 0;
  std::string description;
};

constexpr uint64_t PaddedBytes(uint64_t payload_bytes) { return (payload_bytes + kObjectPageBytes - 1) / kObjectPageBytes * kObjectPageBytes; }
constexpr uint64_t ObjectFileBytes(uint64_t payload_bytes) { return kObjectPageBytes + PaddedBytes(payload_bytes); }

/// The checksum over payload and padding from that of the payload.
uint32_t PaddedCrc(uint32_t payload_crc, uint64_t payload_bytes);

/// REQUIRES: description of at most kMaxDescriptionBytes.
void EncodeHeader(const ObjectHeader& header, uint8_t page[kObjectPageBytes]);

enum class HeaderState {
  kIntact,
  /// Not one of our headers, or damaged.
  kDamaged,
  /// The magic and checksum are right, the version is another.
  kOtherVersion,
};

/// Reads a header page; `*problem` says in words what is wrong when something is.
HeaderState DecodeHeader(const uint8_t page[kObjectPageBytes], ObjectHeader* header, std::string* problem);

}  // namespace kvferry

#endif  // KVFERRY_CORE_OBJECT_FILE_H_
