#include "intern_table.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace kvferry {
namespace {

constexpr uint32_t kFirstBuckets = 1024;
constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;

uint64_t Load64(const uint8_t* data) noexcept {
  uint64_t value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

/// Both halves of a 64 x 64 bit product, folded: the mixing step of wyhash.
uint64_t Fold(uint64_t a, uint64_t b) noexcept {
  __extension__ using Product = unsigned __int128;
  const Product product = static_cast<Product>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

/// Every byte counts: a client may choose hashes that agree in all but a few.
uint64_t SeededHash(const uint8_t* data, size_t bytes, uint64_t seed) noexcept {
  uint64_t state = seed ^ (bytes * kMultiplier);
  for (; bytes >= 16; data += 16, bytes -= 16) state = Fold(Load64(data) ^ seed ^ kMultiplier, Load64(data + 8) ^ state);
  if (bytes > 0) {
    uint8_t rest[16] = {};
    std::memcpy(rest, data, bytes);
    state = Fold(Load64(rest) ^ seed ^ kMultiplier, Load64(rest + 8) ^ state);
  }
  return Fold(state ^ seed, kMultiplier);
}

}  // namespace

FamilyTable::FamilyTable(uint32_t family_bytes, uint64_t seed) : family_bytes_(family_bytes), seed_(seed ^ kMultiplier), heads_(16, kNone) {}

uint64_t FamilyTable::HashOf(const uint8_t* family) const noexcept { return SeededHash(family, family_bytes_, seed_); }

uint32_t FamilyTable::Find(const uint8_t* family, uint64_t hash) const noexcept {
  for (uint32_t id = heads_[hash & (heads_.size() - 1)]; id != kNone; id = entries_[id].next) {
    if (entries_[id].hash == hash && (family_bytes_ == 0 || std::memcmp(bytes(id), family, family_bytes_) == 0)) return id;
  }
  return kNone;
}

uint32_t FamilyTable::Insert(const uint8_t* family, uint64_t hash) {
  if (used_ >= kMaxFamilies) return kNone;
  if (used_ >= heads_.size()) Grow();
  uint32_t id = free_;
  if (id != kNone) {
    free_ = entries_[id].next;
  } else {
    id = static_cast<uint32_t>(entries_.size());
    entries_.push_back({});
    bytes_.resize(bytes_.size() + family_bytes_);
  }
  if (family_bytes_ > 0) std::memcpy(bytes_.data() + size_t{id} * family_bytes_, family, family_bytes_);
  uint32_t& head = heads_[hash & (heads_.size() - 1)];
  entries_[id] = {hash, 0, head};
  head = id;
  used_ += 1;
  return id;
}

void FamilyTable::Release(uint32_t id) noexcept {
  Entry& entry = entries_[id];
  if (--entry.references > 0) return;
  uint32_t* link = &heads_[entry.hash & (heads_.size() - 1)];
  while (*link != id) link = &entries_[*link].next;
  *link = entry.next;
  entry.next = free_;
  free_ = id;
  used_ -= 1;
}

void FamilyTable::Grow() {
  std::vector<uint32_t> heads(heads_.size() * 2, kNone);
  for (uint32_t head : heads_) {
    while (head != kNone) {
      const uint32_t next = entries_[head].next;
      uint32_t& target = heads[entries_[head].hash & (heads.size() - 1)];
      entries_[head].next = target;
      target = head;
      head = next;
    }
  }
  heads_.swap(heads);
}

uint64_t FamilyTable::memory_bytes() const noexcept { return entries_.capacity() * sizeof(Entry) + bytes_.capacity() + heads_.capacity() * sizeof(uint32_t); }

InternTable::InternTable(uint32_t hash_bytes, uint32_t family_bytes, uint64_t seed)
    : hash_bytes_(hash_bytes),
      family_bytes_(family_bytes),
      stride_(static_cast<uint32_t>(sizeof(Header)) + (hash_bytes + 3) / 4 * 4),
      seed_(seed),
      families_(family_bytes, seed),
      bucket_count_(kFirstBuckets),
      bucket_mask_(kFirstBuckets * 2 - 1),
      block_(new uint8_t[kBlock * (hash_bytes + family_bytes)]) {
  heads_.emplace_back(new uint32_t[kStep]());
}

uint64_t InternTable::memory_bytes() const noexcept {
  return records_.size() * uint64_t{kStep} * stride_ + heads_.size() * uint64_t{kStep} * sizeof(uint32_t) + (records_.capacity() + heads_.capacity()) * sizeof(void*) +
         scratch_.capacity() * sizeof(uint32_t) + kBlock * record_bytes() + families_.memory_bytes() + sizeof *this;
}

InternTable::Header& InternTable::At(uint32_t id) const noexcept {
  const uint32_t position = id - 1;
  return *reinterpret_cast<Header*>(records_[position >> kStepShift].get() + size_t{position & (kStep - 1)} * stride_);
}

uint32_t InternTable::BucketOf(uint64_t hash) const noexcept {
  const uint32_t bucket = static_cast<uint32_t>(hash) & bucket_mask_;
  return bucket < bucket_count_ ? bucket : bucket & (bucket_mask_ >> 1);
}

uint64_t InternTable::RecordHash(const uint8_t* hash_part, uint64_t family_hash) const noexcept { return SeededHash(hash_part, hash_bytes_, seed_ ^ family_hash); }

bool InternTable::IsLive(uint32_t id) const noexcept { return id != 0 && id <= id_bound_ && References(At(id)) > 0; }

Status InternTable::DeadId(uint32_t id) const {
  return Status::StaleHandle("id " + std::to_string(id) + (id == 0 || id > id_bound_ ? " was never given out by this table" : " has no reference left to use"));
}

Status InternTable::TooManyReferences(uint32_t id) const {
  return Status::OutOfRange("id " + std::to_string(id) + " has " + std::to_string(kMaxReferences) + " references, which is the most there can be");
}

void InternTable::Prepare(const uint8_t* records, size_t count) {
  const uint32_t bytes = record_bytes();
  // A copy of our own: the caller's may lie in memory that another JavaScript thread writes, and a record that changes
  // between hashing and storing would end up in a bucket where nobody finds it.
  std::memcpy(block_.get(), records, count * bytes);
  uint64_t family_hash = 0;
  uint32_t family = FamilyTable::kNone;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* const record = block_.get() + i * bytes;
    const bool same_family = i > 0 && std::memcmp(record + hash_bytes_, record - family_bytes_, family_bytes_) == 0;
    if (!same_family) {
      family_hash = families_.HashOf(record + hash_bytes_);
      family = families_.Find(record + hash_bytes_, family_hash);
    }
    prepared_[i] = {RecordHash(record, family_hash), family};
    __builtin_prefetch(&Head(BucketOf(prepared_[i].hash)));
  }
  for (size_t i = 0; i < count; ++i) {
    const uint32_t id = Head(BucketOf(prepared_[i].hash));
    if (id == 0) continue;
    const char* const header = reinterpret_cast<const char*>(&At(id));
    __builtin_prefetch(header);
    __builtin_prefetch(header + stride_ - 1);
  }
}

uint32_t InternTable::Lookup(const uint8_t* record, const Prepared& prepared) const noexcept {
  if (prepared.family == FamilyTable::kNone) return 0;
  for (uint32_t id = Head(BucketOf(prepared.hash)); id != 0;) {
    Header& header = At(id);
    if (std::memcmp(HashOfRecord(header), record, hash_bytes_) == 0 && Family(header) == prepared.family) return id;
    id = header.next;
  }
  return 0;
}

Status InternTable::Intern(const uint8_t* records, size_t count, uint32_t* ids, uint32_t* inserted) {
  *inserted = 0;
  const uint32_t bytes = record_bytes();
  // Ids are kept apart until the end: `ids` may be memory that another thread writes, and undoing must not trust it.
  std::vector<uint32_t>& done = scratch_;
  done.clear();
  done.reserve(count);
  Status status;
  for (size_t first = 0; first < count && status.ok(); first += kBlock) {
    const size_t block = std::min(kBlock, count - first);
    Prepare(records + first * bytes, block);
    for (size_t i = 0; i < block; ++i) {
      const uint8_t* const record = block_.get() + i * bytes;
      // The family may have come into being with an earlier record of this block.
      if (prepared_[i].family == FamilyTable::kNone) prepared_[i].family = families_.Find(record + hash_bytes_, families_.HashOf(record + hash_bytes_));
      uint32_t id = Lookup(record, prepared_[i]);
      if (id == 0) {
        status = Insert(record, prepared_[i], &id);
        if (!status.ok()) break;
        *inserted += 1;
      } else if (References(At(id)) == kMaxReferences) {
        status = TooManyReferences(id);
        break;
      }
      AddReferences(At(id), 1);
      done.push_back(id);
    }
  }
  if (!status.ok()) {
    for (const uint32_t id : done) ReleaseOne(id);
    *inserted = 0;
    return status;
  }
  std::copy(done.begin(), done.end(), ids);
  return {};
}

uint32_t InternTable::Find(const uint8_t* records, size_t count, uint32_t* ids) {
  uint32_t found = 0;
  const uint32_t bytes = record_bytes();
  for (size_t first = 0; first < count; first += kBlock) {
    const size_t block = std::min(kBlock, count - first);
    Prepare(records + first * bytes, block);
    for (size_t i = 0; i < block; ++i) {
      const uint32_t id = Lookup(block_.get() + i * bytes, prepared_[i]);
      ids[first + i] = id;
      found += id != 0 ? 1 : 0;
    }
  }
  return found;
}

Status InternTable::Insert(const uint8_t* record, Prepared& prepared, uint32_t* id) {
  if (free_id_ == 0 && id_bound_ == UINT32_MAX - 1) return Status::OutOfRange("the table is full: 4294967294 ids are in use");
  if (prepared.family == FamilyTable::kNone) {
    prepared.family = families_.Insert(record + hash_bytes_, families_.HashOf(record + hash_bytes_));
    if (prepared.family == FamilyTable::kNone) return Status::OutOfRange(std::to_string(FamilyTable::kMaxFamilies) + " distinct families (namespace, rank, group) are in use, which is the most there can be");
  }
  families_.Retain(prepared.family);
  Reserve();
  if (free_id_ != 0) {
    *id = free_id_;
    free_id_ = At(*id).next;
  } else {
    *id = ++id_bound_;
    At(*id).family_high_and_generation = 0;
  }
  Header& header = At(*id);
  uint32_t& head = Head(BucketOf(prepared.hash));
  header.next = head;
  head = *id;
  header.references_and_family_low = prepared.family & 63;
  header.family_high_and_generation = Generation(header) | (prepared.family >> 6) << 20;
  std::memcpy(HashOfRecord(header), record, hash_bytes_);
  size_ += 1;
  if (size_ > bucket_count_) SplitOne();
  return {};
}

void InternTable::Reserve() {
  if (free_id_ == 0 && (id_bound_ >> kStepShift) == records_.size()) records_.emplace_back(new uint8_t[size_t{kStep} * stride_]);
  // The bucket that SplitOne may add.
  if ((bucket_count_ >> kStepShift) == heads_.size()) heads_.emplace_back(new uint32_t[kStep]());
}

void InternTable::SplitOne() {
  const uint32_t added = bucket_count_;
  const uint32_t split = added & (bucket_mask_ >> 1);
  bucket_count_ += 1;
  uint32_t id = Head(split);
  Head(split) = 0;
  Head(added) = 0;
  while (id != 0) {
    Header& header = At(id);
    const uint32_t next = header.next;
    uint32_t& head = Head(BucketOf(RecordHash(HashOfRecord(header), families_.hash(Family(header)))));
    header.next = head;
    head = id;
    id = next;
  }
  if (bucket_count_ > bucket_mask_) bucket_mask_ = bucket_mask_ * 2 + 1;
}

Status InternTable::Retain(const uint32_t* ids, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const uint32_t id = ids[i];
    const bool live = IsLive(id);
    if (!live || References(At(id)) == kMaxReferences) {
      while (i > 0) AddReferences(At(ids[--i]), -1);
      return live ? TooManyReferences(id) : DeadId(id);
    }
    AddReferences(At(id), 1);
  }
  return {};
}

Status InternTable::Release(const uint32_t* ids, size_t count, uint32_t* recycled) {
  *recycled = 0;
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] != 0 && ids[i] <= id_bound_) __builtin_prefetch(&At(ids[i]));
  }
  // An id reaches zero at most once here: named again after that, it is dead and the whole call is undone.
  scratch_.clear();
  for (size_t i = 0; i < count; ++i) {
    const uint32_t id = ids[i];
    if (!IsLive(id)) {
      while (i > 0) AddReferences(At(ids[--i]), 1);
      return DeadId(id);
    }
    Header& header = At(id);
    AddReferences(header, -1);
    if (References(header) == 0) scratch_.push_back(id);
  }
  for (size_t first = 0; first < scratch_.size(); first += kBlock) {
    const size_t block = std::min(kBlock, scratch_.size() - first);
    for (size_t i = 0; i < block; ++i) {
      Header& header = At(scratch_[first + i]);
      prepared_[i].hash = RecordHash(HashOfRecord(header), families_.hash(Family(header)));
      __builtin_prefetch(&Head(BucketOf(prepared_[i].hash)));
    }
    for (size_t i = 0; i < block; ++i) Recycle(scratch_[first + i], prepared_[i].hash);
  }
  *recycled = static_cast<uint32_t>(scratch_.size());
  return {};
}

void InternTable::Recycle(uint32_t id, uint64_t hash) noexcept {
  Header& header = At(id);
  uint32_t* link = &Head(BucketOf(hash));
  while (*link != id) link = &At(*link).next;
  *link = header.next;
  header.next = free_id_;
  free_id_ = id;
  size_ -= 1;
  families_.Release(Family(header));
  header.references_and_family_low = 0;
  header.family_high_and_generation = (Generation(header) + 1) & kMaxGeneration;
}

void InternTable::ReleaseOne(uint32_t id) noexcept {
  Header& header = At(id);
  AddReferences(header, -1);
  if (References(header) == 0) Recycle(id, RecordHash(HashOfRecord(header), families_.hash(Family(header))));
}

Status InternTable::Records(const uint32_t* ids, size_t count, uint8_t* out) const {
  for (size_t i = 0; i < count; ++i) {
    if (!IsLive(ids[i])) return DeadId(ids[i]);
  }
  for (size_t i = 0; i < count; ++i, out += record_bytes()) {
    Header& header = At(ids[i]);
    std::memcpy(out, HashOfRecord(header), hash_bytes_);
    if (family_bytes_ > 0) std::memcpy(out + hash_bytes_, families_.bytes(Family(header)), family_bytes_);
  }
  return {};
}

Status InternTable::Generations(const uint32_t* ids, size_t count, uint32_t* out) const {
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] == 0 || ids[i] > id_bound_) return DeadId(ids[i]);
  }
  for (size_t i = 0; i < count; ++i) out[i] = Generation(At(ids[i]));
  return {};
}

}  // namespace kvferry
