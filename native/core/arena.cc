#include "arena.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "compaction.h"
#include "crc32c.h"

namespace kvferry {
namespace {

constexpr uint64_t kLeastBytes = 64 * 1024;
constexpr uint64_t kMostSegmentBytes = uint64_t{1} << 30;
// References in one call that counts I/O: a quarter of what a slot's counter holds, so that no call can overflow it.
constexpr uint32_t kMostRefs = 1u << 22;

std::string RefText(SlotRef ref) { return "slot " + std::to_string(ref.index) + " generation " + std::to_string(ref.generation); }

}  // namespace

/// The arena's slots as compaction sees them.
class Arena::CompactionView final : public CompactionSlots {
 public:
  explicit CompactionView(Arena& arena) : arena_(arena) {}

  uint32_t PagesOf(uint32_t owner) const override { return arena_.PagesFor(arena_.slots_[owner].bytes); }

  bool Movable(uint32_t owner) const override {
    // Acquire: what the last I/O wrote must be there before it is moved. Only this thread can count new I/O in.
    return (arena_.slots_[owner].state.load(std::memory_order_acquire) & Slot::kCountMask) == 0;
  }

  bool AnySmallerThan(uint32_t pages) const override {
    for (uint32_t size_class = 0; size_class <= ExtentAllocator::ClassOf(pages); ++size_class) {
      const SizeClass& counted = arena_.size_classes_[size_class];
      if (counted.slots > 0 && counted.fewest_pages < pages) return true;
    }
    return false;
  }

  void Move(uint32_t owner, uint32_t to_page) override {
    Slot& slot = arena_.slots_[owner];
    uint8_t* const target = arena_.memory_.base() + (uint64_t{to_page} << arena_.page_shift_);
    std::memmove(target, arena_.DataOf(slot), slot.bytes);
    slot.page = to_page;
    arena_.compacted_bytes_ += slot.bytes;
  }

 private:
  Arena& arena_;
};

Status Arena::Open(const ArenaOptions& options, std::shared_ptr<Arena>* arena) {
  const uint32_t align = options.align_bytes;
  if (align < 4096 || align > kMostSegmentBytes || (align & (align - 1)) != 0) {
    return Status::OutOfRange("alignBytes is " + std::to_string(align) + "; a power of two of 4096 to 1073741824 is wanted");
  }
  if (options.segment_bytes < align || options.segment_bytes > kMostSegmentBytes) {
    return Status::OutOfRange("segmentBytes is " + std::to_string(options.segment_bytes) + "; " + std::to_string(align) + " (alignBytes) to 1073741824 are allowed");
  }
  const uint64_t capacity = options.size_bytes / align * align;
  const uint64_t least = std::max<uint64_t>(kLeastBytes, align);
  if (capacity < least || capacity / align > ExtentAllocator::kMaxPages) {
    return Status::OutOfRange("sizeBytes is " + std::to_string(options.size_bytes) + "; " + std::to_string(least) + " to " + std::to_string(uint64_t{ExtentAllocator::kMaxPages} * align) + " are allowed");
  }

  std::shared_ptr<Arena> opened(new Arena(options));
  Status status = options.shared_name.empty() ? opened->memory_.OpenPrivate(capacity, options.huge_pages)
                                              : opened->memory_.OpenShared(options.shared_name, capacity, least, options.huge_pages);
  if (!status.ok()) return status;
  opened->page_shift_ = static_cast<uint32_t>(__builtin_ctz(align));
  opened->capacity_bytes_ = opened->memory_.bytes() / align * align;
  opened->segment_bytes_ = options.segment_bytes / align * align;
  opened->shared_name_ = options.shared_name;
  const auto pages = static_cast<uint32_t>(opened->capacity_bytes_ >> opened->page_shift_);
  try {
    opened->slots_.Open(pages);
    opened->extents_.Open(pages, static_cast<uint32_t>(opened->segment_bytes_ >> opened->page_shift_));
  } catch (const std::bad_alloc&) {
    return Status::System("reserving the arena's bookkeeping", ENOMEM);
  }
  if (options.populate_ahead_bytes > 0 && options.shared_name.empty()) opened->memory_.PopulateAhead(options.populate_ahead_bytes);
  *arena = std::move(opened);
  return {};
}

Arena::~Arena() = default;

Status Arena::CheckOpen() const { return closed_ ? Status::Closed("the arena is closed") : Status(); }

uint32_t Arena::PagesFor(uint64_t bytes) const noexcept { return static_cast<uint32_t>((bytes + align_bytes_ - 1) >> page_shift_); }

uint8_t* Arena::DataOf(const Slot& slot) const noexcept { return memory_.base() + (uint64_t{slot.page} << page_shift_); }

Status Arena::CheckRef(SlotRef ref) const {
  if (ref.index < slots_.bound() && slots_[ref.index].generation == ref.generation && (ref.generation & 1) != 0) return {};
  if (ref.index >= slots_.bound()) return Status::StaleHandle(RefText(ref) + " was never allocated in this arena");
  return Status::StaleHandle(RefText(ref) + " is stale: the slot has been freed");
}

Status Arena::CheckWritable(SlotRef ref) const {
  if ((slots_[ref.index].state.load(std::memory_order_relaxed) & Slot::kSealed) == 0) return {};
  return Status::StaleHandle(RefText(ref) + " is sealed: the object was published and can only be read");
}

void Arena::ClearIfUntouched(Slot& slot) noexcept {
  if ((slot.state.load(std::memory_order_relaxed) & Slot::kTouched) != 0) return;
  std::memset(DataOf(slot), 0, slot.bytes);
  slot.state.fetch_or(Slot::kTouched, std::memory_order_relaxed);
}

uint64_t Arena::UsedBytes() noexcept {
  if (closed_) return 0;
  CollectDrained();
  return capacity_bytes_ - (uint64_t{extents_.free_pages()} << page_shift_);
}

void Arena::CollectDrained() noexcept {
  for (uint32_t index = slots_.TakeDrained(); index != SlotTable::kNone;) {
    const uint32_t next = slots_.NextDrained(index);
    draining_bytes_ -= uint64_t{PagesFor(slots_[index].bytes)} << page_shift_;
    Recycle(index);
    index = next;
  }
}

void Arena::Recycle(uint32_t index) noexcept {
  const Slot& slot = slots_[index];
  const uint32_t pages = PagesFor(slot.bytes);
  extents_.Free(slot.page, pages);
  size_classes_[ExtentAllocator::ClassOf(pages)].slots -= 1;
  layout_changes_ += 1;
  slots_.Recycle(index);
}

Status Arena::Allocate(uint64_t size_bytes, uint32_t count, SlotRef* refs, uint32_t* taken) {
  *taken = 0;
  Status status = CheckOpen();
  if (!status.ok()) return status;
  const uint64_t most = std::min(segment_bytes_, capacity_bytes_);
  if (size_bytes < 1 || size_bytes > most) {
    return Status::OutOfRange("sizeBytes is " + std::to_string(size_bytes) + "; 1 to " + std::to_string(most) + " fit in this arena (an object never crosses a segment)");
  }
  CollectDrained();
  const uint32_t pages = PagesFor(size_bytes);
  while (*taken < count) {
    const uint32_t got = TakeExtents(pages, size_bytes, count - *taken, refs + *taken);
    *taken += got;
    if (got > 0) continue;
    if (extents_.free_pages() < pages || !MakeRoom(pages, count - *taken)) break;
  }
  if (*taken < count) allocation_failures_ += 1;
  return {};
}

bool Arena::MakeRoom(uint32_t pages, uint32_t count) {
  // A request that waits asks again and again; what failed without I/O in the way fails until something was freed.
  if (pages >= failed_pages_ && layout_changes_ == failed_at_change_) return false;
  const bool no_io = slots_.in_io() == 0;
  const uint32_t fitting = std::min({count, extents_.free_pages() / pages, std::min(extents_.segment_pages(), extents_.pages()) / pages});
  CompactionView view(*this);
  if (MakeFreeExtent(extents_, view, pages, std::max<uint32_t>(1, fitting) * pages)) {
    compactions_ += 1;
    layout_changes_ += 1;
    return true;
  }
  if (no_io) {
    failed_at_change_ = layout_changes_;
    failed_pages_ = pages;
  }
  return false;
}

uint32_t Arena::TakeExtents(uint32_t pages, uint64_t size_bytes, uint32_t count, SlotRef* refs) {
  uint32_t page = 0;
  const uint32_t got = extents_.Take(pages, count, &page);
  for (uint32_t i = 0; i < got; ++i, page += pages) {
    const uint32_t index = slots_.Acquire(page, static_cast<uint32_t>(size_bytes));
    extents_.SetOwner(page, pages, index);
    refs[i] = {index, slots_[index].generation};
  }
  if (got > 0) {
    memory_.UsedUpTo(uint64_t{page} << page_shift_);
    SizeClass& counted = size_classes_[ExtentAllocator::ClassOf(pages)];
    counted.fewest_pages = counted.slots == 0 ? pages : std::min(counted.fewest_pages, pages);
    counted.slots += got;
    layout_changes_ += 1;
  }
  return got;
}

Status Arena::Free(const SlotRef* refs, size_t count, uint64_t* returned_bytes) {
  *returned_bytes = 0;
  Status status = CheckOpen();
  if (!status.ok()) return status;
  scratch_.clear();
  // The generation changes while checking, so that a slot named twice shows itself as stale; a failure changes it back.
  for (size_t i = 0; i < count; ++i) {
    const SlotRef ref = refs[i];
    status = CheckRef(ref);
    if (!status.ok()) {
      for (const uint32_t index : scratch_) slots_[index].generation -= 1;
      return status;
    }
    slots_[ref.index].generation += 1;
    scratch_.push_back(ref.index);
  }
  for (const uint32_t index : scratch_) {
    Slot& slot = slots_[index];
    const uint64_t bytes = uint64_t{PagesFor(slot.bytes)} << page_shift_;
    const uint32_t before = slot.state.fetch_or(Slot::kDropped, std::memory_order_acq_rel);
    if ((before & Slot::kCountMask) == 0) {
      *returned_bytes += bytes;
      Recycle(index);
    } else {
      draining_bytes_ += bytes;
    }
  }
  return {};
}

Status Arena::BeginIo(const SlotRef* refs, size_t count) {
  Status status = CheckOpen();
  if (!status.ok()) return status;
  status = CollectLive(refs, count);
  if (status.ok()) status = CheckCountable();
  if (!status.ok()) return status;
  for (const uint32_t index : scratch_) {
    Slot& slot = slots_[index];
    const uint32_t holds = slot.link.load(std::memory_order_relaxed);
    slot.link.store(holds + 1, std::memory_order_relaxed);
    if (holds > 0) continue;
    const uint32_t state = slot.state.load(std::memory_order_relaxed);
    // An outside holder of an open slot is its writer. One of a sealed slot reads, through calls that clear what was never written.
    slot.state.fetch_or((state & Slot::kSealed) != 0 ? Slot::kOutside : Slot::kOutside | Slot::kTouched, std::memory_order_relaxed);
    slots_.CountIn(slot);
  }
  return {};
}

Status Arena::EndIo(const SlotRef* refs, size_t count) {
  Status status = CheckOpen();
  if (!status.ok()) return status;
  scratch_.clear();
  // Holds are counted down while checking, and back up when a reference is refused; the slots whose last hold ends here are
  // counted out after that.
  std::vector<uint32_t> ended;
  for (size_t i = 0; i < count; ++i) {
    const SlotRef ref = refs[i];
    const bool known = ref.index < slots_.bound() && (ref.generation & 1) != 0;
    const bool current = known && (slots_[ref.index].generation == ref.generation || slots_[ref.index].generation == ref.generation + 1);
    // Without the flag the link may be a worker's at this moment; with it, our hold keeps the slot from draining.
    const bool held = current && (slots_[ref.index].state.load(std::memory_order_relaxed) & Slot::kOutside) != 0;
    const uint32_t holds = held ? slots_[ref.index].link.load(std::memory_order_relaxed) : 0;
    if (holds == 0) {
      for (const uint32_t index : scratch_) slots_[index].link.fetch_add(1, std::memory_order_relaxed);
      return Status::StaleHandle(RefText(ref) + " has no I/O that was begun with beginIo");
    }
    slots_[ref.index].link.store(holds - 1, std::memory_order_relaxed);
    scratch_.push_back(ref.index);
    if (holds == 1) ended.push_back(ref.index);
  }
  for (const uint32_t index : ended) {
    slots_[index].state.fetch_and(~Slot::kOutside, std::memory_order_relaxed);
    slots_.CountOut(index);
  }
  CollectDrained();
  return {};
}

Status Arena::Seal(const SlotRef* refs, size_t count, uint32_t* in_io) {
  *in_io = 0;
  Status status = CheckOpen();
  if (!status.ok()) return status;
  status = CollectLive(refs, count);
  if (!status.ok()) return status;
  for (const uint32_t index : scratch_) {
    // Acquire: what the last I/O wrote is part of the object that is published now.
    if ((slots_[index].state.load(std::memory_order_acquire) & Slot::kCountMask) != 0) *in_io += 1;
  }
  if (*in_io > 0) return {};
  for (const uint32_t index : scratch_) {
    slots_[index].state.fetch_or(Slot::kSealed, std::memory_order_relaxed);
  }
  return {};
}

Status Arena::CollectLive(const SlotRef* refs, size_t count) {
  scratch_.clear();
  for (size_t i = 0; i < count; ++i) {
    const SlotRef ref = refs[i];
    Status status = CheckRef(ref);
    if (!status.ok()) return status;
    scratch_.push_back(ref.index);
  }
  return {};
}

Status Arena::Resolve(const SlotRef* refs, size_t count, SlotAccess access, std::vector<SlotView>* views) {
  Status status = CheckOpen();
  if (!status.ok()) return status;
  status = CollectLive(refs, count);
  if (status.ok()) status = CheckCountable();
  if (!status.ok()) return status;
  if (access == SlotAccess::kWrite) {
    for (size_t i = 0; i < count && status.ok(); ++i) status = CheckWritable(refs[i]);
    if (status.ok()) status = CheckDistinct();
    if (!status.ok()) return status;
  }
  views->resize(count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t index = scratch_[i];
    Slot& slot = slots_[index];
    if (access == SlotAccess::kWrite) {
      slot.state.fetch_and(~Slot::kChecksumKnown, std::memory_order_relaxed);
      slot.state.fetch_or(Slot::kTouched, std::memory_order_relaxed);
    } else {
      ClearIfUntouched(slot);
    }
    slots_.CountIn(slot);
    (*views)[i] = {DataOf(slot), slot.bytes, index};
  }
  return {};
}

Status Arena::CheckCountable() const {
  if (scratch_.size() > kMostRefs) return Status::OutOfRange(std::to_string(scratch_.size()) + " slots in one call; at most " + std::to_string(kMostRefs) + " are allowed");
  for (const uint32_t index : scratch_) {
    const uint32_t in_flight = slots_[index].state.load(std::memory_order_relaxed) & Slot::kCountMask;
    const uint32_t holds = slots_[index].link.load(std::memory_order_relaxed);
    if (in_flight > Slot::kCountMask - kMostRefs || holds > UINT32_MAX - kMostRefs) return Status::OutOfRange("slot " + std::to_string(index) + " has too many I/Os in flight");
  }
  return {};
}

Status Arena::CheckDistinct() {
  // As in Free: a changed generation marks what has been seen. Nothing else runs in between, so nobody sees it.
  size_t seen = 0;
  bool twice = false;
  for (; seen < scratch_.size() && !twice; ++seen) {
    Slot& slot = slots_[scratch_[seen]];
    twice = (slot.generation & 1) == 0;
    if (twice) break;
    slot.generation += 1;
  }
  for (size_t i = 0; i < seen; ++i) slots_[scratch_[i]].generation -= 1;
  if (!twice) return {};
  const uint32_t index = scratch_[seen];
  return Status::StaleHandle(RefText({index, slots_[index].generation}) + " is named twice as a target of one call");
}

void Arena::FinishIo(uint32_t index) noexcept { slots_.CountOut(index); }

void Arena::SetChecksum(uint32_t index, uint32_t crc) noexcept {
  Slot& slot = slots_[index];
  slot.checksum.store(crc, std::memory_order_relaxed);
  slot.state.fetch_or(Slot::kChecksumKnown, std::memory_order_release);
}

bool Arena::GetChecksum(uint32_t index, uint32_t* crc) const noexcept {
  const Slot& slot = slots_[index];
  if ((slot.state.load(std::memory_order_acquire) & Slot::kChecksumKnown) == 0) return false;
  *crc = slot.checksum.load(std::memory_order_relaxed);
  return true;
}

Status Arena::View(const SlotRef* refs, size_t count, std::vector<SlotView>* views) const {
  Status status = CheckOpen();
  if (!status.ok()) return status;
  views->clear();
  views->reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const SlotRef ref = refs[i];
    status = CheckRef(ref);
    if (!status.ok()) return status;
    const Slot& slot = slots_[ref.index];
    views->push_back({DataOf(slot), slot.bytes, ref.index});
  }
  return {};
}

Status Arena::CheckRange(SlotRef ref, uint64_t offset, uint64_t count) const {
  Status status = CheckOpen();
  if (!status.ok()) return status;
  status = CheckRef(ref);
  if (!status.ok()) return status;
  const uint32_t bytes = slots_[ref.index].bytes;
  if (offset > bytes || count > bytes - offset) {
    return Status::OutOfRange("bytes " + std::to_string(offset) + " to " + std::to_string(offset + count) + " are outside the object of " + std::to_string(bytes) + " bytes");
  }
  return {};
}

Status Arena::Write(SlotRef ref, uint64_t offset, const void* bytes, uint64_t count) {
  Status status = CheckRange(ref, offset, count);
  if (status.ok()) status = CheckWritable(ref);
  if (!status.ok()) return status;
  Slot& slot = slots_[ref.index];
  if ((slot.state.load(std::memory_order_relaxed) & Slot::kTouched) == 0) {
    // Only what is not written anyway: most objects come in one piece.
    std::memset(DataOf(slot), 0, offset);
    std::memset(DataOf(slot) + offset + count, 0, slot.bytes - offset - count);
    slot.state.fetch_or(Slot::kTouched, std::memory_order_relaxed);
  }
  slot.state.fetch_and(~Slot::kChecksumKnown, std::memory_order_relaxed);
  // memmove: nothing forbids a caller to pass a view of shared memory that overlaps.
  if (count > 0) std::memmove(DataOf(slot) + offset, bytes, count);
  return {};
}

Status Arena::Read(SlotRef ref, uint64_t offset, void* bytes, uint64_t count) {
  Status status = CheckRange(ref, offset, count);
  if (!status.ok()) return status;
  ClearIfUntouched(slots_[ref.index]);
  if (count > 0) std::memmove(bytes, DataOf(slots_[ref.index]) + offset, count);
  return {};
}

Status Arena::Checksums(const SlotRef* refs, size_t count, uint32_t* crcs) {
  Status status = CheckOpen();
  if (!status.ok()) return status;
  status = CollectLive(refs, count);
  if (!status.ok()) return status;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t index = scratch_[i];
    Slot& slot = slots_[index];
    if (GetChecksum(index, &crcs[i])) continue;
    ClearIfUntouched(slot);
    crcs[i] = Crc32c(DataOf(slot), slot.bytes);
    // Kept only when nothing may be writing the slot at this moment.
    if ((slot.state.load(std::memory_order_acquire) & Slot::kCountMask) == 0) SetChecksum(index, crcs[i]);
  }
  return {};
}

Status Arena::Offsets(const SlotRef* refs, size_t count, double* offsets) {
  Status status = CheckOpen();
  for (size_t i = 0; i < count && status.ok(); ++i) status = CheckRef(refs[i]);
  if (!status.ok()) return status;
  for (size_t i = 0; i < count; ++i) {
    const SlotRef ref = refs[i];
    // Whoever learns where a sealed object lies reads it without any further call.
    if ((slots_[ref.index].state.load(std::memory_order_relaxed) & Slot::kSealed) != 0) ClearIfUntouched(slots_[ref.index]);
    offsets[i] = static_cast<double>(uint64_t{slots_[ref.index].page} << page_shift_);
  }
  return {};
}

ArenaStats Arena::Stats(bool measure_populated) {
  ArenaStats stats;
  stats.shared_name = shared_name_;
  stats.huge_pages = memory_.huge_pages();
  stats.compacted_bytes = compacted_bytes_;
  stats.compactions = compactions_;
  stats.allocation_failures = allocation_failures_;
  if (closed_) return stats;
  stats.used_bytes = UsedBytes();
  stats.capacity_bytes = capacity_bytes_;
  stats.draining_bytes = draining_bytes_;
  stats.slot_count = slots_.live_count();
  stats.slots_in_io = slots_.in_io();
  stats.largest_free_bytes = uint64_t{extents_.LargestFree()} << page_shift_;
  stats.segment_count = extents_.segment_count();
  if (measure_populated) stats.populated_bytes = memory_.PopulatedBytes();
  stats.bookkeeping_bytes = slots_.memory_bytes() + extents_.memory_bytes() + sizeof *this;
  return stats;
}

Status Arena::Close() {
  if (closed_) return {};
  if (slots_.in_io() != 0) return Status::Busy(std::to_string(slots_.in_io()) + " slots of the arena have I/O in flight; wait for it before closing");
  closed_ = true;
  memory_.Close();
  extents_.Release();
  slots_.Release();
  return {};
}

}  // namespace kvferry
