// ExtentAllocator: which pages of an arena are free. Bookkeeping lies in side arrays, never in the memory it describes, so
// that payload, registrations and lazily populated pages stay untouched.
//
// Free extents are kept in segregated lists (TLSF's classes: exact below 16 pages, then 16 per power of two), found through a
// bitmap. Each extent, free or used, has its tag on its first and last page, which is all that coalescing needs; tags
// between them are stale and never read. Extents never cross a segment.
//
// Chosen over the slab design because several object sizes share arenas of a few MiB, where a run per class would leave one
// size without room; with one size both behave alike.
//
// Thread safety: belongs to one thread.
#ifndef KVFERRY_CORE_EXTENT_ALLOCATOR_H_
#define KVFERRY_CORE_EXTENT_ALLOCATOR_H_

#include <cstdint>
#include <vector>

#include "memory_reservation.h"

namespace kvferry {

class ExtentAllocator {
 public:
  static constexpr uint32_t kMaxPages = 1u << 30;
  static constexpr uint32_t kMaxSegmentPages = 1u << 18;
  static constexpr uint32_t kClasses = 256;

  /// An extent as found at its first page. `owner` is meaningless when it is free, `pages` when it is used (the owner knows).
  struct Extent {
    bool free;
    uint32_t pages;
    uint32_t owner;
  };

  /// All pages free. REQUIRES: 0 < pages <= kMaxPages, 0 < segment_pages <= kMaxSegmentPages. Throws std::bad_alloc.
  void Open(uint32_t pages, uint32_t segment_pages);
  void Release() noexcept;

  uint32_t pages() const noexcept { return pages_; }
  uint32_t segment_pages() const noexcept { return segment_pages_; }
  uint32_t segment_count() const noexcept { return static_cast<uint32_t>(segment_free_.size()); }
  uint32_t free_pages() const noexcept { return free_pages_; }
  uint32_t free_pages_in(uint32_t segment) const noexcept { return segment_free_[segment]; }
  uint32_t LargestFree() const noexcept;
  /// The size class of an extent, 0 .. kClasses - 1.
  static uint32_t ClassOf(uint32_t pages) noexcept;

  /// Takes neighbouring extents of `pages_each`: as many of `max_count` as lie in one free extent, the whole batch if any
  /// free extent holds it. Returns how many; *start is the first page. The caller must SetOwner each of them.
  uint32_t Take(uint32_t pages_each, uint32_t max_count, uint32_t* start) noexcept;
  /// Gives [start, start + pages) back and merges it with free neighbours of its segment.
  void Free(uint32_t start, uint32_t pages) noexcept;
  /// Tags a used extent. `owner` < 2^31.
  void SetOwner(uint32_t start, uint32_t pages, uint32_t owner) noexcept;

  // For compaction.
  /// REQUIRES: an extent begins at `start`.
  Extent At(uint32_t start) const noexcept;
  /// Takes the free extent that begins at `start` out of the lists; the caller must give its pages an owner or free them.
  void RemoveFreeAt(uint32_t start) noexcept;

  uint64_t memory_bytes() const noexcept;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kFreeFlag = 1u << 31;
  // Used owners are stored plus one, so that an untouched tag (0) is neither.

  struct Node {
    uint32_t start;
    uint32_t pages;
    uint32_t next;
    uint32_t previous;
  };

  /// The first class all of whose extents hold `pages`.
  static uint32_t ClassThatFits(uint32_t pages) noexcept;
  uint32_t FirstClassFrom(uint32_t first) const noexcept;
  uint32_t LastClass() const noexcept;

  uint32_t Find(uint32_t pages) const noexcept;
  uint32_t ScanClass(uint32_t size_class, uint32_t pages, uint32_t limit) const noexcept;
  void Insert(uint32_t node) noexcept;
  void Remove(uint32_t node) noexcept;
  uint32_t NewNode(uint32_t start, uint32_t pages) noexcept;
  void DropNode(uint32_t node) noexcept;
  void WriteTag(uint32_t page, uint32_t tag) noexcept;

  uint32_t pages_ = 0;
  uint32_t segment_pages_ = 0;
  uint32_t free_pages_ = 0;
  std::vector<uint32_t> segment_free_;

  LazyArray<uint32_t> tags_;
  // One byte per 4 KiB of tags: whether they were ever touched. Keeps memory_bytes true without asking the kernel.
  std::vector<uint8_t> tag_touched_;
  uint32_t tag_touched_count_ = 0;

  LazyArray<Node> nodes_;
  uint32_t node_bound_ = 0;
  uint32_t node_free_ = kNone;
  uint32_t heads_[kClasses];
  uint64_t non_empty_[kClasses / 64];
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_EXTENT_ALLOCATOR_H_
