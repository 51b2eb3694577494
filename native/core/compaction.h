// Compaction: makes one free extent out of several by moving slots that have no I/O, so that a new object size never fails
// while enough bytes are free (design.md, Native: Slots).
//
// Two ways, in this order:
//   slide      within one segment, the window of neighbouring extents that holds enough free pages at the least moved bytes
//              is pushed together;
//   evacuate   when no segment has enough free pages of its own between slots that must stay, the cheapest window of the
//              wanted length is emptied into free extents elsewhere. Only slots smaller than the wanted extent leave: a
//              place for a larger one would be a place for the request itself.
//
// Both look at a bounded number of segments, the ones with the most free pages first, so that a failure in an arena of
// hundreds of segments does not hold up the owner's thread. Without I/O sliding succeeds in the first it looks at.
//
// Thread safety: the arena's owner thread.
#ifndef KVFERRY_CORE_COMPACTION_H_
#define KVFERRY_CORE_COMPACTION_H_

#include <cstdint>

#include "extent_allocator.h"

namespace kvferry {

/// What compaction must know of the slots that own the used extents.
class CompactionSlots {
 public:
  virtual uint32_t PagesOf(uint32_t owner) const = 0;
  /// False while I/O is counted on the slot.
  virtual bool Movable(uint32_t owner) const = 0;
  /// Whether any live slot has fewer pages.
  virtual bool AnySmallerThan(uint32_t pages) const = 0;
  /// Moves the bytes (places may overlap) and notes the new place.
  virtual void Move(uint32_t owner, uint32_t to_page) = 0;

 protected:
  ~CompactionSlots() = default;
};

/// Makes a free extent of at least `pages`, of `at_best_pages` if that can be had by sliding. Returns whether it could.
/// REQUIRES: 0 < pages <= at_best_pages <= segment_pages.
bool MakeFreeExtent(ExtentAllocator& extents, CompactionSlots& slots, uint32_t pages, uint32_t at_best_pages);

}  // namespace kvferry

#endif  // KVFERRY_CORE_COMPACTION_H_
