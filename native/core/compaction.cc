#include "compaction.h"

#include <algorithm>
#include <vector>

namespace kvferry {
namespace {

// A segment whose cheapest window moves no more than this is taken without looking at further segments.
constexpr uint32_t kCheapPages = (16u << 20) / 4096;
constexpr uint32_t kNoSegment = UINT32_MAX;
constexpr uint32_t kEvacuationTries = 8;
constexpr size_t kMostSegments = 32;

enum class Kind : uint8_t { kFree, kMovable, kFixed };

struct Item {
  uint32_t start;
  uint32_t pages;
  uint32_t owner;
  Kind kind;
};

/// Items first..last (inclusive) of a segment.
struct Window {
  uint32_t segment = kNoSegment;
  size_t first = 0;
  size_t last = 0;
  uint32_t moved_pages = UINT32_MAX;

  bool found() const { return segment != kNoSegment; }
};

std::vector<Item> ItemsOf(const ExtentAllocator& extents, const CompactionSlots& slots, uint32_t segment) {
  std::vector<Item> items;
  const uint32_t first = segment * extents.segment_pages();
  const uint32_t end = std::min(first + extents.segment_pages(), extents.pages());
  for (uint32_t page = first; page < end;) {
    const ExtentAllocator::Extent extent = extents.At(page);
    Item item{page, extent.pages, extent.owner, Kind::kFree};
    if (!extent.free) {
      item.pages = slots.PagesOf(extent.owner);
      item.kind = slots.Movable(extent.owner) ? Kind::kMovable : Kind::kFixed;
    }
    items.push_back(item);
    page += item.pages;
  }
  return items;
}

/// The window without fixed slots that moves the fewest pages among those with enough of what `counts` counts.
template <typename Counts>
Window CheapestWindow(const std::vector<Item>& items, uint32_t segment, uint32_t pages, Counts counts) {
  Window best;
  uint32_t counted = 0;
  uint32_t moved = 0;
  size_t first = 0;
  for (size_t last = 0; last < items.size(); ++last) {
    const Item& item = items[last];
    if (item.kind == Kind::kFixed) {
      counted = moved = 0;
      first = last + 1;
      continue;
    }
    counted += counts(item);
    if (item.kind == Kind::kMovable) moved += item.pages;
    while (counted >= pages) {
      if (moved < best.moved_pages) best = {segment, first, last, moved};
      counted -= counts(items[first]);
      if (items[first].kind == Kind::kMovable) moved -= items[first].pages;
      ++first;
    }
  }
  return best;
}

/// Segments with at least `pages` free, those with the most first, at most kMostSegments.
std::vector<uint32_t> EmptiestSegments(const ExtentAllocator& extents, uint32_t pages, uint32_t except_segment) {
  std::vector<uint32_t> segments;
  for (uint32_t segment = 0; segment < extents.segment_count(); ++segment) {
    if (segment != except_segment && extents.free_pages_in(segment) >= pages) segments.push_back(segment);
  }
  const size_t count = std::min(segments.size(), kMostSegments);
  std::partial_sort(segments.begin(), segments.begin() + static_cast<std::ptrdiff_t>(count), segments.end(), [&](uint32_t a, uint32_t b) {
    return extents.free_pages_in(a) != extents.free_pages_in(b) ? extents.free_pages_in(a) > extents.free_pages_in(b) : a < b;
  });
  segments.resize(count);
  return segments;
}

bool Slide(ExtentAllocator& extents, CompactionSlots& slots, uint32_t pages, uint32_t except_segment) {
  Window best;
  std::vector<Item> best_items;
  for (const uint32_t segment : EmptiestSegments(extents, pages, except_segment)) {
    std::vector<Item> items = ItemsOf(extents, slots, segment);
    const Window window = CheapestWindow(items, segment, pages, [](const Item& item) { return item.kind == Kind::kFree ? item.pages : 0; });
    if (!window.found() || window.moved_pages >= best.moved_pages) continue;
    best = window;
    best_items = std::move(items);
    if (best.moved_pages <= kCheapPages) break;
  }
  if (!best.found()) return false;

  for (size_t i = best.first; i <= best.last; ++i) {
    if (best_items[i].kind == Kind::kFree) extents.RemoveFreeAt(best_items[i].start);
  }
  uint32_t next = best_items[best.first].start;
  for (size_t i = best.first; i <= best.last; ++i) {
    const Item& item = best_items[i];
    if (item.kind == Kind::kFree) continue;
    if (item.start != next) slots.Move(item.owner, next);
    extents.SetOwner(next, item.pages, item.owner);
    next += item.pages;
  }
  const Item& last = best_items[best.last];
  extents.Free(next, last.start + last.pages - next);
  return true;
}

bool EvacuateWindow(ExtentAllocator& extents, CompactionSlots& slots, const std::vector<Item>& items, const Window& window) {
  std::vector<Item> leaving;
  uint32_t free_inside = 0;
  for (size_t i = window.first; i <= window.last; ++i) {
    if (items[i].kind == Kind::kMovable) leaving.push_back(items[i]);
    if (items[i].kind == Kind::kFree) free_inside += items[i].pages;
  }
  if (window.moved_pages > extents.free_pages() - free_inside) return false;
  // The largest first: what is left over fits the small ones.
  std::sort(leaving.begin(), leaving.end(), [](const Item& a, const Item& b) { return a.pages > b.pages; });
  // What is free in the window must not be found as a place for what leaves it.
  for (size_t i = window.first; i <= window.last; ++i) {
    if (items[i].kind == Kind::kFree) extents.RemoveFreeAt(items[i].start);
  }
  size_t left = 0;
  for (; left < leaving.size(); ++left) {
    const Item& item = leaving[left];
    uint32_t to_page = 0;
    if (extents.Take(item.pages, 1, &to_page) == 0) {
      if (extents.free_pages() < item.pages || !Slide(extents, slots, item.pages, window.segment)) break;
      if (extents.Take(item.pages, 1, &to_page) == 0) break;
    }
    slots.Move(item.owner, to_page);
    extents.SetOwner(to_page, item.pages, item.owner);
  }
  // Frees what was free or has left; merging makes one extent of it when everything left.
  for (size_t i = window.first; i <= window.last; ++i) {
    const Item& item = items[i];
    const bool stays = item.kind == Kind::kMovable && std::any_of(leaving.begin() + static_cast<std::ptrdiff_t>(left), leaving.end(), [&](const Item& other) { return other.start == item.start; });
    if (!stays) extents.Free(item.start, item.pages);
  }
  return left == leaving.size();
}

/// Items of a segment among which only what is smaller than `pages` may leave.
std::vector<Item> EvacuableItemsOf(const ExtentAllocator& extents, const CompactionSlots& slots, uint32_t segment, uint32_t pages) {
  std::vector<Item> items = ItemsOf(extents, slots, segment);
  for (Item& item : items) {
    if (item.kind == Kind::kMovable && item.pages >= pages) item.kind = Kind::kFixed;
  }
  return items;
}

bool Evacuate(ExtentAllocator& extents, CompactionSlots& slots, uint32_t pages) {
  if (!slots.AnySmallerThan(pages)) return false;
  const auto all_pages = [](const Item& item) { return item.pages; };
  std::vector<Window> windows;
  for (const uint32_t segment : EmptiestSegments(extents, 1, kNoSegment)) {
    const Window window = CheapestWindow(EvacuableItemsOf(extents, slots, segment, pages), segment, pages, all_pages);
    if (window.found()) windows.push_back(window);
  }
  std::sort(windows.begin(), windows.end(), [](const Window& a, const Window& b) { return a.moved_pages < b.moved_pages; });
  for (size_t i = 0; i < windows.size() && i < kEvacuationTries; ++i) {
    // An earlier try may have moved slots: look again.
    const std::vector<Item> items = EvacuableItemsOf(extents, slots, windows[i].segment, pages);
    const Window window = CheapestWindow(items, windows[i].segment, pages, all_pages);
    if (window.found() && EvacuateWindow(extents, slots, items, window)) return true;
  }
  return false;
}

}  // namespace

bool MakeFreeExtent(ExtentAllocator& extents, CompactionSlots& slots, uint32_t pages, uint32_t at_best_pages) {
  for (uint32_t wanted = at_best_pages; wanted > pages; wanted = std::max(pages, wanted / 2)) {
    if (Slide(extents, slots, wanted, kNoSegment)) return true;
  }
  if (Slide(extents, slots, pages, kNoSegment)) return true;
  return Evacuate(extents, slots, pages);
}

}  // namespace kvferry
