// SlotTable: the records of an arena's slots, 24 bytes each, in one lazily populated array that never moves.
//
// Which thread writes what:
//   generation, page, bytes    the owner only; worker threads never read them.
//   state                      atomic. Low 24 bits count I/O in flight; the flags lie beside it in the same word, so that "the
//                              last I/O of a dropped slot ended" is one atomic decision.
//   checksum                   atomic; meaningful while kChecksumKnown is set.
//   link                       the owner while the slot is live (the count of outside I/O) or free (next free record);
//                              whoever ends the last I/O of a dropped slot while it is on the drained list. The moments do
//                              not overlap: outside I/O is part of the count, so it is over before the slot can drain.
//
// Thread safety: as said above; the methods name their thread.
#ifndef KVFERRY_CORE_SLOT_TABLE_H_
#define KVFERRY_CORE_SLOT_TABLE_H_

#include <atomic>
#include <cstdint>

#include "memory_reservation.h"

namespace kvferry {

struct Slot {
  static constexpr uint32_t kCountMask = (1u << 24) - 1;
  /// The owner's alone: the object is complete and can only be read from now on.
  static constexpr uint32_t kSealed = 1u << 27;
  /// The owner's alone: nothing of the object that lay here before can be read any more, or an operation is to overwrite all of it.
  static constexpr uint32_t kTouched = 1u << 28;
  /// The owner's alone: the count includes one for holders outside the addon, whose number is in `link`.
  static constexpr uint32_t kOutside = 1u << 29;
  static constexpr uint32_t kChecksumKnown = 1u << 30;
  static constexpr uint32_t kDropped = 1u << 31;

  /// Odd while the slot is live, even from Free on; a reference with an even generation is never valid.
  uint32_t generation;
  /// First page in the arena.
  uint32_t page;
  /// Bytes of the object.
  uint32_t bytes;
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> checksum;
  std::atomic<uint32_t> link;
};
static_assert(sizeof(Slot) == 24, "24 bytes of record and 4 of page tag make the 28 bytes a slot may cost");

class SlotTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  /// Room for `capacity` slots. Throws std::bad_alloc.
  void Open(uint32_t capacity);
  void Release() noexcept { slots_.Release(); }

  Slot& operator[](uint32_t index) const noexcept { return slots_[index]; }
  /// Records that were ever used: a reference with a higher index is forged.
  uint32_t bound() const noexcept { return bound_; }
  uint32_t live_count() const noexcept { return live_count_; }

  /// Owner. Takes a free record and makes it live with no I/O. REQUIRES: fewer live slots than the capacity.
  uint32_t Acquire(uint32_t page, uint32_t bytes) noexcept;
  /// Owner. Gives back the record of a dropped slot without I/O.
  void Recycle(uint32_t index) noexcept;

  /// Any thread: one I/O in, one I/O out. CountOut puts a dropped slot without further I/O on the drained list.
  void CountIn(Slot& slot) noexcept;
  void CountOut(uint32_t index) noexcept;

  /// Owner. Takes the whole drained list: its first index or kNone; follow with NextDrained.
  uint32_t TakeDrained() noexcept;
  uint32_t NextDrained(uint32_t index) const noexcept { return slots_[index].link.load(std::memory_order_relaxed) - 1; }

  /// Slots with I/O. Zero (acquire) means that no other thread touches any slot any more.
  uint64_t in_io() const noexcept { return in_io_.load(std::memory_order_acquire); }

  uint64_t memory_bytes() const noexcept { return TouchedBytes<Slot>(bound_); }

 private:
  LazyArray<Slot> slots_;
  uint32_t bound_ = 0;
  uint32_t live_count_ = 0;
  // Index + 1 of the first free record, linked through Slot::link; 0 = none.
  uint32_t free_head_ = 0;
  // Index + 1 of the record drained last; 0 = none. Workers push, the owner takes all at once, so there is no ABA.
  std::atomic<uint32_t> drained_head_{0};
  std::atomic<uint64_t> in_io_{0};
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_SLOT_TABLE_H_
