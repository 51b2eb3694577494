#include "extent_allocator.h"

#include <algorithm>
#include <cstring>

namespace kvferry {
namespace {

// Candidates of the size's own class that are looked at before a larger class is split; with one object size the first fits.
constexpr uint32_t kQuickScan = 8;
constexpr uint32_t kTagsPerTouch = 4096 / sizeof(uint32_t);

}  // namespace

void ExtentAllocator::Open(uint32_t pages, uint32_t segment_pages) {
  Release();
  pages_ = pages;
  segment_pages_ = segment_pages;
  tags_.Reserve(pages);
  tag_touched_.assign((uint64_t{pages} + kTagsPerTouch - 1) / kTagsPerTouch, 0);
  const uint32_t segments = static_cast<uint32_t>((uint64_t{pages} + segment_pages - 1) / segment_pages);
  // At worst every other page is free; a segment of an odd number of pages has one extent more.
  nodes_.Reserve(uint64_t{pages} / 2 + segments + 1);
  std::fill(std::begin(heads_), std::end(heads_), kNone);
  std::memset(non_empty_, 0, sizeof non_empty_);
  segment_free_.assign(segments, 0);
  // From the last to the first, so that the first segment is the head of its list and fills first.
  for (uint32_t segment = segments; segment-- > 0;) {
    const uint32_t start = segment * segment_pages;
    Free(start, std::min(segment_pages, pages - start));
  }
}

void ExtentAllocator::Release() noexcept {
  tags_.Release();
  nodes_.Release();
  tag_touched_.clear();
  segment_free_.clear();
  tag_touched_count_ = 0;
  node_bound_ = 0;
  node_free_ = kNone;
  pages_ = free_pages_ = 0;
}

uint32_t ExtentAllocator::ClassOf(uint32_t pages) noexcept {
  if (pages < 16) return pages;
  const uint32_t log = 31 - static_cast<uint32_t>(__builtin_clz(pages));
  return (log - 3) * 16 + ((pages >> (log - 4)) & 15);
}

uint32_t ExtentAllocator::ClassThatFits(uint32_t pages) noexcept {
  if (pages < 16) return pages;
  const uint32_t log = 31 - static_cast<uint32_t>(__builtin_clz(pages));
  const uint32_t below_class_step = (1u << (log - 4)) - 1;
  return ClassOf(pages) + ((pages & below_class_step) != 0 ? 1 : 0);
}

uint32_t ExtentAllocator::FirstClassFrom(uint32_t first) const noexcept {
  if (first >= kClasses) return kNone;
  uint32_t word = first / 64;
  uint64_t bits = non_empty_[word] & (~uint64_t{0} << (first % 64));
  while (bits == 0) {
    if (++word == kClasses / 64) return kNone;
    bits = non_empty_[word];
  }
  return word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
}

uint32_t ExtentAllocator::LastClass() const noexcept {
  for (uint32_t word = kClasses / 64; word-- > 0;) {
    if (non_empty_[word] != 0) return word * 64 + 63 - static_cast<uint32_t>(__builtin_clzll(non_empty_[word]));
  }
  return kNone;
}

uint32_t ExtentAllocator::LargestFree() const noexcept {
  const uint32_t last = LastClass();
  uint32_t largest = 0;
  if (last == kNone) return 0;
  for (uint32_t node = heads_[last]; node != kNone; node = nodes_[node].next) largest = std::max(largest, nodes_[node].pages);
  return largest;
}

uint32_t ExtentAllocator::ScanClass(uint32_t size_class, uint32_t pages, uint32_t limit) const noexcept {
  for (uint32_t node = heads_[size_class]; node != kNone && limit > 0; node = nodes_[node].next, --limit) {
    if (nodes_[node].pages >= pages) return node;
  }
  return kNone;
}

uint32_t ExtentAllocator::Find(uint32_t pages) const noexcept {
  const uint32_t own = ClassOf(pages);
  const uint32_t fits = ClassThatFits(pages);
  if (own != fits) {
    const uint32_t node = ScanClass(own, pages, kQuickScan);
    if (node != kNone) return node;
  }
  const uint32_t size_class = FirstClassFrom(fits);
  if (size_class != kNone) return heads_[size_class];
  return own == fits ? kNone : ScanClass(own, pages, kNone);
}

uint32_t ExtentAllocator::Take(uint32_t pages_each, uint32_t max_count, uint32_t* start) noexcept {
  if (max_count == 0 || pages_each > free_pages_ || pages_each > segment_pages_) return 0;
  const uint64_t batch = uint64_t{pages_each} * max_count;
  uint32_t node = kNone;
  if (batch <= segment_pages_ && batch <= free_pages_) node = Find(static_cast<uint32_t>(batch));
  if (node == kNone) {
    // No place for the whole batch: the longest run of neighbours lies in the largest extent, or nearly.
    const uint32_t last = LastClass();
    node = last != kNone && last >= ClassThatFits(pages_each) ? heads_[last] : Find(pages_each);
    if (node == kNone) return 0;
  }
  Node& extent = nodes_[node];
  const uint32_t count = std::min(max_count, extent.pages / pages_each);
  const uint32_t taken = count * pages_each;
  *start = extent.start;
  free_pages_ -= taken;
  segment_free_[extent.start / segment_pages_] -= taken;
  Remove(node);
  if (taken == extent.pages) {
    DropNode(node);
  } else {
    extent.start += taken;
    extent.pages -= taken;
    Insert(node);
    WriteTag(extent.start, kFreeFlag | node);
  }
  return count;
}

void ExtentAllocator::Free(uint32_t start, uint32_t pages) noexcept {
  const uint32_t segment = start / segment_pages_;
  const uint32_t segment_start = segment * segment_pages_;
  const uint32_t segment_end = std::min(segment_start + segment_pages_, pages_);
  free_pages_ += pages;
  segment_free_[segment] += pages;

  uint32_t node = kNone;
  if (start > segment_start && (tags_[start - 1] & kFreeFlag) != 0) {
    node = tags_[start - 1] & ~kFreeFlag;
    Remove(node);
    start = nodes_[node].start;
    pages += nodes_[node].pages;
  }
  const uint32_t end = start + pages;
  if (end < segment_end && (tags_[end] & kFreeFlag) != 0) {
    const uint32_t right = tags_[end] & ~kFreeFlag;
    Remove(right);
    pages += nodes_[right].pages;
    if (node == kNone) {
      node = right;
    } else {
      DropNode(right);
    }
  }
  if (node == kNone) {
    node = NewNode(start, pages);
  } else {
    nodes_[node].start = start;
    nodes_[node].pages = pages;
  }
  Insert(node);
  WriteTag(start, kFreeFlag | node);
  WriteTag(start + pages - 1, kFreeFlag | node);
}

void ExtentAllocator::SetOwner(uint32_t start, uint32_t pages, uint32_t owner) noexcept {
  WriteTag(start, owner + 1);
  WriteTag(start + pages - 1, owner + 1);
}

ExtentAllocator::Extent ExtentAllocator::At(uint32_t start) const noexcept {
  const uint32_t tag = tags_[start];
  if ((tag & kFreeFlag) != 0) return {true, nodes_[tag & ~kFreeFlag].pages, 0};
  return {false, 0, tag - 1};
}

void ExtentAllocator::RemoveFreeAt(uint32_t start) noexcept {
  const uint32_t node = tags_[start] & ~kFreeFlag;
  const uint32_t pages = nodes_[node].pages;
  Remove(node);
  DropNode(node);
  free_pages_ -= pages;
  segment_free_[start / segment_pages_] -= pages;
  // Whoever looks at the neighbours before an owner is set must not find the dropped node.
  SetOwner(start, pages, 0);
}

void ExtentAllocator::Insert(uint32_t node) noexcept {
  const uint32_t size_class = ClassOf(nodes_[node].pages);
  const uint32_t head = heads_[size_class];
  nodes_[node].next = head;
  nodes_[node].previous = kNone;
  if (head != kNone) nodes_[head].previous = node;
  heads_[size_class] = node;
  non_empty_[size_class / 64] |= uint64_t{1} << (size_class % 64);
}

void ExtentAllocator::Remove(uint32_t node) noexcept {
  const Node& extent = nodes_[node];
  if (extent.next != kNone) nodes_[extent.next].previous = extent.previous;
  if (extent.previous != kNone) {
    nodes_[extent.previous].next = extent.next;
    return;
  }
  const uint32_t size_class = ClassOf(extent.pages);
  heads_[size_class] = extent.next;
  if (extent.next == kNone) non_empty_[size_class / 64] &= ~(uint64_t{1} << (size_class % 64));
}

uint32_t ExtentAllocator::NewNode(uint32_t start, uint32_t pages) noexcept {
  uint32_t node = node_free_;
  if (node != kNone) {
    node_free_ = nodes_[node].next;
  } else {
    node = node_bound_++;
  }
  nodes_[node].start = start;
  nodes_[node].pages = pages;
  return node;
}

void ExtentAllocator::DropNode(uint32_t node) noexcept {
  nodes_[node].next = node_free_;
  node_free_ = node;
}

void ExtentAllocator::WriteTag(uint32_t page, uint32_t tag) noexcept {
  tags_[page] = tag;
  uint8_t& touched = tag_touched_[page / kTagsPerTouch];
  if (touched == 0) {
    touched = 1;
    tag_touched_count_ += 1;
  }
}

uint64_t ExtentAllocator::memory_bytes() const noexcept {
  return uint64_t{tag_touched_count_} * 4096 + TouchedBytes<Node>(node_bound_) + tag_touched_.capacity() + segment_free_.capacity() * sizeof(uint32_t) + sizeof *this;
}

}  // namespace kvferry
