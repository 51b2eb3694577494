// Arena: L1's memory. One reservation of address space, divided into segments, in which slots of several sizes lie. A slot
// holds one object and is known outside as (index, generation); addresses never leave the core, so that slots without I/O
// can be moved when free space is fragmented.
//
// Slot life (native/README.md has the table): free -> live (Allocate) -> dropped (Free) -> free, the last step only when no
// I/O is counted on it. I/O is counted on a slot by
//   Resolve / FinishIo       operations of this addon, FinishIo on whatever thread the hardware reports to;
//   BeginIo / EndIo          holders outside (JavaScript adapters, clients of shared memory), kept in a count of their own,
//                            so that a wrong EndIo can never end the I/O of an operation.
// A slot with I/O is never moved and never reused, whatever JavaScript does.
//
// A fresh slot still holds what its memory held before, so it counts as untouched until it is written whole (operations) or
// begun (BeginIo); the first Write, and whatever reads an untouched slot, puts zeros there first. Seal ends the writing.
//
// Thread safety: an arena belongs to the thread that opened it (the owner). Only these may be called from other threads,
// by who holds I/O on the slot: FinishIo, SetChecksum, GetChecksum. They touch nothing but the slot's atomic words.
// Operations hold the arena by shared_ptr until their last FinishIo has returned.
//
// Every call that takes references checks all of them before it changes anything.
#ifndef KVFERRY_CORE_ARENA_H_
#define KVFERRY_CORE_ARENA_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "extent_allocator.h"
#include "memory_reservation.h"
#include "slot_ref.h"
#include "slot_table.h"
#include "status.h"

namespace kvferry {

struct ArenaOptions {
  /// Rounded down to align_bytes; at least 64 KiB.
  uint64_t size_bytes = 0;
  /// An object never crosses a segment. At most 1 GiB.
  uint64_t segment_bytes = uint64_t{1} << 30;
  bool huge_pages = true;
  /// POSIX shared memory without the leading slash; empty = private memory.
  std::string shared_name;
  /// Power of two, at least 4096.
  uint32_t align_bytes = 4096;
  /// Private memory that a background thread populates ahead of what was ever allocated; 0 = pages come at first touch.
  uint64_t populate_ahead_bytes = 0;
};

struct ArenaStats {
  uint64_t capacity_bytes = 0;
  uint64_t used_bytes = 0;
  uint64_t draining_bytes = 0;
  uint64_t slot_count = 0;
  uint64_t slots_in_io = 0;
  uint64_t largest_free_bytes = 0;
  uint64_t compacted_bytes = 0;
  uint64_t compactions = 0;
  uint64_t allocation_failures = 0;
  uint64_t segment_count = 0;
  HugePageState huge_pages = HugePageState::kOff;
  std::string shared_name;
  /// -1 when the kernel does not say.
  int64_t populated_bytes = -1;
  uint64_t bookkeeping_bytes = 0;
};

class Arena {
 public:
  static Status Open(const ArenaOptions& options, std::shared_ptr<Arena>* arena);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint64_t capacity_bytes() const noexcept { return capacity_bytes_; }
  uint32_t align_bytes() const noexcept { return align_bytes_; }
  bool closed() const noexcept { return closed_; }

  /// Collects what drained, then answers the aligned bytes of every slot that is not back in the allocator.
  uint64_t UsedBytes() noexcept;

  /// Takes up to `count` slots of `size_bytes`, neighbours where it can, moving slots without I/O where it must.
  /// `*taken` says how many of `refs` were written. OutOfRange when an object of that size can never fit.
  Status Allocate(uint64_t size_bytes, uint32_t count, SlotRef* refs, uint32_t* taken);

  /// Drops slots. `*returned_bytes` gets the aligned bytes that went back at once.
  Status Free(const SlotRef* refs, size_t count, uint64_t* returned_bytes);

  /// I/O of holders outside the addon. EndIo takes the references given to BeginIo, dropped since or not.
  Status BeginIo(const SlotRef* refs, size_t count);
  Status EndIo(const SlotRef* refs, size_t count);

  /// Makes objects final: from here on whatever would write into the slots is refused like a stale handle, until Free. `*in_io`
  /// gets how many of them have I/O in flight; unless that is 0, nothing is changed. What was never written reads as zeros.
  Status Seal(const SlotRef* refs, size_t count, uint32_t* in_io);

  /// Counts one I/O on each slot for an operation and says where the objects lie. Fails as a whole, changing nothing.
  /// Each view must be given back by exactly one FinishIo(view.index).
  Status Resolve(const SlotRef* refs, size_t count, SlotAccess access, std::vector<SlotView>* views);

  /// The hardware is done with one use of the slot. Any thread; the last touch of the slot by that use. Call it before
  /// Operation::FinishItem, so that whoever sees the completion can free the slot at once.
  void FinishIo(uint32_t index) noexcept;

  /// Stores the crc32c of the object's bytes. Any thread, while it holds I/O on the slot.
  void SetChecksum(uint32_t index, uint32_t crc) noexcept;
  /// False when the slot's checksum is not known. Any thread, while it holds I/O on the slot.
  bool GetChecksum(uint32_t index, uint32_t* crc) const noexcept;

  /// Synchronous access on the owner thread; counts no I/O, so the views end with the next Allocate.
  Status View(const SlotRef* refs, size_t count, std::vector<SlotView>* views) const;
  Status Write(SlotRef ref, uint64_t offset, const void* bytes, uint64_t count);
  Status Read(SlotRef ref, uint64_t offset, void* bytes, uint64_t count);
  /// Checksums of the objects; computes and keeps those that are not known.
  Status Checksums(const SlotRef* refs, size_t count, uint32_t* crcs);
  /// Byte offsets in the reservation. They hold while I/O is counted on the slot.
  Status Offsets(const SlotRef* refs, size_t count, double* offsets);

  // Resident bytes come from /proc/self/smaps, which takes milliseconds in a large process: without `measure_populated` they are -1.
  ArenaStats Stats(bool measure_populated = true);

  /// First byte and length of the reservation, for registering it with devices and io_uring. Null when closed.
  uint8_t* base() const noexcept { return memory_.base(); }

  /// Unmaps. Busy, and nothing changed, while I/O is in flight. Idempotent.
  Status Close();

 private:
  explicit Arena(const ArenaOptions& options) : align_bytes_(options.align_bytes) {}

  class CompactionView;

  Status CheckOpen() const;
  Status CheckRef(SlotRef ref) const;
  Status CheckRange(SlotRef ref, uint64_t offset, uint64_t count) const;
  /// Checks the references and puts their indexes into scratch_.
  Status CollectLive(const SlotRef* refs, size_t count);
  /// Whether one call more cannot overflow the counters of the slots in scratch_.
  Status CheckCountable() const;
  /// Whether scratch_ names no slot twice.
  Status CheckDistinct();
  uint32_t PagesFor(uint64_t bytes) const noexcept;
  uint8_t* DataOf(const Slot& slot) const noexcept;
  /// A slot may be written only before it is sealed.
  Status CheckWritable(SlotRef ref) const;
  /// Zeros in place of what an earlier owner left in a slot that nobody wrote yet: one tenant never sees another's bytes.
  void ClearIfUntouched(Slot& slot) noexcept;
  /// Puts slots whose last I/O ended after Free back into the allocator.
  void CollectDrained() noexcept;
  void Recycle(uint32_t index) noexcept;
  /// Compacts for one extent of `pages`, or of several times that while `count` are wanted. False when it cannot.
  bool MakeRoom(uint32_t pages, uint32_t count);
  uint32_t TakeExtents(uint32_t pages, uint64_t size_bytes, uint32_t count, SlotRef* refs);

  const uint32_t align_bytes_;
  uint32_t page_shift_ = 12;
  uint64_t capacity_bytes_ = 0;
  uint64_t segment_bytes_ = 0;
  bool closed_ = false;
  std::string shared_name_;

  MemoryReservation memory_;
  ExtentAllocator extents_;
  SlotTable slots_;

  // Live and draining slots by size class, and the fewest pages among them since the class was last empty.
  struct SizeClass {
    uint32_t slots = 0;
    uint32_t fewest_pages = 0;
  };
  SizeClass size_classes_[ExtentAllocator::kClasses];
  // What changed the layout so far, and what it was when compaction last failed with no I/O in the way.
  uint64_t layout_changes_ = 0;
  uint64_t failed_at_change_ = UINT64_MAX;
  uint32_t failed_pages_ = UINT32_MAX;

  uint64_t draining_bytes_ = 0;
  uint64_t compacted_bytes_ = 0;
  uint64_t compactions_ = 0;
  uint64_t allocation_failures_ = 0;
  std::vector<uint32_t> scratch_;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_ARENA_H_
