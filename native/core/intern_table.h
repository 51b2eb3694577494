// InternTable: fixed-size records to dense 32-bit ids, with reference counts and generations.
//
// A record is `hash_bytes` of hash followed by `family_bytes` that few distinct values share (namespace, rank, group); the
// families are stored once. A key costs hash_bytes + 12 bytes of record and 4 of bucket: 48 for the 32-byte hash.
// Linear hashing over arrays in steps: growing splits one bucket at a time, so there is neither a pause nor a moment at which
// old and new table exist side by side.
//
// Clients choose chunk hashes. Buckets are picked by a hash of the whole record under a secret seed, so nobody can fill one
// bucket; ids depend on the order of calls only, never on the seed.
//
// Limits: 2^32 - 1 ids, 2^18 - 1 families at a time, 2^26 - 1 references per id. Generations have 20 bits.
//
// Thread safety: belongs to one thread. Every call checks all it is given before it changes anything, or undoes what it did.
#ifndef KVFERRY_CORE_INTERN_TABLE_H_
#define KVFERRY_CORE_INTERN_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "status.h"

namespace kvferry {

/// The distinct families, with the number of records that use each.
class FamilyTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kMaxFamilies = (1u << 18) - 1;

  FamilyTable(uint32_t family_bytes, uint64_t seed);

  uint64_t HashOf(const uint8_t* family) const noexcept;
  uint32_t Find(const uint8_t* family, uint64_t hash) const noexcept;
  /// kNone when there are kMaxFamilies.
  uint32_t Insert(const uint8_t* family, uint64_t hash);
  void Retain(uint32_t id) noexcept { entries_[id].references += 1; }
  void Release(uint32_t id) noexcept;

  const uint8_t* bytes(uint32_t id) const noexcept { return bytes_.data() + size_t{id} * family_bytes_; }
  uint64_t hash(uint32_t id) const noexcept { return entries_[id].hash; }
  uint64_t memory_bytes() const noexcept;

 private:
  struct Entry {
    uint64_t hash;
    uint32_t references;
    uint32_t next;
  };
  void Grow();

  const uint32_t family_bytes_;
  const uint64_t seed_;
  std::vector<Entry> entries_;
  std::vector<uint8_t> bytes_;
  std::vector<uint32_t> heads_;
  uint32_t free_ = kNone;
  uint32_t used_ = 0;
};

class InternTable {
 public:
  static constexpr uint32_t kMaxHashBytes = 256;
  static constexpr uint32_t kMaxFamilyBytes = 256;

  /// REQUIRES: 1 <= hash_bytes <= kMaxHashBytes, family_bytes <= kMaxFamilyBytes. `seed` should be secret and random.
  InternTable(uint32_t hash_bytes, uint32_t family_bytes, uint64_t seed);

  uint32_t record_bytes() const noexcept { return hash_bytes_ + family_bytes_; }
  uint32_t size() const noexcept { return size_; }
  /// Highest id ever handed out.
  uint32_t id_bound() const noexcept { return id_bound_; }
  uint64_t memory_bytes() const noexcept;

  /// Finds or inserts; one more reference each.
  Status Intern(const uint8_t* records, size_t count, uint32_t* ids, uint32_t* inserted);
  /// Finds; 0 = absent. Returns how many were found.
  uint32_t Find(const uint8_t* records, size_t count, uint32_t* ids);
  Status Retain(const uint32_t* ids, size_t count);
  Status Release(const uint32_t* ids, size_t count, uint32_t* recycled);
  Status Records(const uint32_t* ids, size_t count, uint8_t* out) const;
  /// Of any id ever given out, live or not.
  Status Generations(const uint32_t* ids, size_t count, uint32_t* out) const;

 private:
  static constexpr uint32_t kStepShift = 12;
  static constexpr uint32_t kStep = 1u << kStepShift;
  static constexpr uint32_t kMaxReferences = (1u << 26) - 1;
  static constexpr uint32_t kMaxGeneration = (1u << 20) - 1;
  static constexpr size_t kBlock = 64;

  // A record in memory: `next` in its bucket (or the next free id), the packed counters, the hash.
  struct Header {
    uint32_t next;
    uint32_t references_and_family_low;   // 26 bits references, low 6 bits of the family
    uint32_t family_high_and_generation;  // 12 high bits of the family, 20 bits generation
  };
  static_assert(sizeof(Header) == 12, "12 bytes beside the hash");

  struct Prepared {
    uint64_t hash;
    uint32_t family;
  };

  Header& At(uint32_t id) const noexcept;
  static uint8_t* HashOfRecord(Header& header) noexcept { return reinterpret_cast<uint8_t*>(&header + 1); }
  uint32_t& Head(uint32_t bucket) const noexcept { return heads_[bucket >> kStepShift][bucket & (kStep - 1)]; }
  uint32_t BucketOf(uint64_t hash) const noexcept;
  uint64_t RecordHash(const uint8_t* hash_part, uint64_t family_hash) const noexcept;
  bool IsLive(uint32_t id) const noexcept;
  Status DeadId(uint32_t id) const;
  Status TooManyReferences(uint32_t id) const;

  /// Copies a block of records, hashes it and prefetches what looking it up will touch.
  void Prepare(const uint8_t* records, size_t count);
  uint32_t Lookup(const uint8_t* record, const Prepared& prepared) const noexcept;
  Status Insert(const uint8_t* record, Prepared& prepared, uint32_t* id);
  void Recycle(uint32_t id, uint64_t hash) noexcept;
  void ReleaseOne(uint32_t id) noexcept;
  void SplitOne();
  void Reserve();

  static uint32_t References(const Header& header) noexcept { return header.references_and_family_low >> 6; }
  static void AddReferences(Header& header, int32_t count) noexcept { header.references_and_family_low += static_cast<uint32_t>(count) << 6; }
  static uint32_t Family(const Header& header) noexcept { return (header.references_and_family_low & 63) | (header.family_high_and_generation >> 20) << 6; }
  static uint32_t Generation(const Header& header) noexcept { return header.family_high_and_generation & kMaxGeneration; }

  const uint32_t hash_bytes_;
  const uint32_t family_bytes_;
  const uint32_t stride_;
  const uint64_t seed_;
  FamilyTable families_;

  std::vector<std::unique_ptr<uint8_t[]>> records_;
  std::vector<std::unique_ptr<uint32_t[]>> heads_;
  uint32_t bucket_count_;
  // All bits of the larger of the two masks of linear hashing.
  uint32_t bucket_mask_;
  uint32_t size_ = 0;
  uint32_t id_bound_ = 0;
  uint32_t free_id_ = 0;

  std::unique_ptr<uint8_t[]> block_;
  Prepared prepared_[kBlock];
  std::vector<uint32_t> scratch_;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_INTERN_TABLE_H_
