#include "extent_allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "test_random.h"

namespace kvferry {
namespace {

TEST(ExtentAllocatorTest, ABatchGetsNeighbours) {
  ExtentAllocator extents;
  extents.Open(1000, 1000);
  uint32_t start = 0;
  ASSERT_EQ(extents.Take(3, 64, &start), 64u);
  EXPECT_EQ(extents.free_pages(), 1000u - 192u);
  EXPECT_EQ(extents.LargestFree(), 1000u - 192u);
}

TEST(ExtentAllocatorTest, ABatchTakesTheLongestRunsFirst) {
  ExtentAllocator extents;
  extents.Open(100, 100);
  uint32_t start = 0;
  ASSERT_EQ(extents.Take(100, 1, &start), 1u);
  extents.SetOwner(0, 100, 0);
  extents.Free(10, 2);
  extents.Free(40, 30);
  extents.Free(90, 2);
  ASSERT_EQ(extents.Take(2, 64, &start), 15u);
  EXPECT_EQ(start, 40u);
}

TEST(ExtentAllocatorTest, FreeNeighboursBecomeOneExtentButNotAcrossSegments) {
  ExtentAllocator extents;
  extents.Open(30, 10);
  EXPECT_EQ(extents.segment_count(), 3u);
  EXPECT_EQ(extents.LargestFree(), 10u);
  std::vector<uint32_t> starts;
  for (int i = 0; i < 15; ++i) {
    uint32_t start = 0;
    ASSERT_EQ(extents.Take(2, 1, &start), 1u);
    extents.SetOwner(start, 2, static_cast<uint32_t>(i));
    starts.push_back(start);
  }
  uint32_t start = 0;
  EXPECT_EQ(extents.Take(1, 1, &start), 0u);
  for (size_t i : {0u, 2u, 4u, 6u, 8u, 10u, 12u, 14u, 1u, 3u, 5u, 7u, 9u, 11u, 13u}) extents.Free(starts[i], 2);
  EXPECT_EQ(extents.LargestFree(), 10u);
  EXPECT_EQ(extents.free_pages(), 30u);
  EXPECT_EQ(extents.Take(11, 1, &start), 0u);
  EXPECT_EQ(extents.Take(10, 3, &start), 1u);
}

TEST(ExtentAllocatorTest, FindsAnExtentThatFitsExactlyInsideACoarseClass) {
  ExtentAllocator extents;
  extents.Open(4096, 4096);
  uint32_t start = 0;
  ASSERT_EQ(extents.Take(4096, 1, &start), 1u);
  extents.SetOwner(0, 4096, 0);
  // Twenty extents of one class, the wanted one freed first and so the last in its list.
  extents.Free(0, 1047);
  for (uint32_t i = 0; i < 2; ++i) extents.Free(1100 + 1100 * i, 1030);
  ASSERT_EQ(extents.Take(1047, 1, &start), 1u);
  EXPECT_EQ(start, 0u);
}

TEST(ExtentAllocatorTest, RandomOperationsNeverOverlapAndLoseNothing) {
  TestRandom random;
  const uint32_t pages = 2000 + random.Below(3000);
  const uint32_t segment_pages = 100 + random.Below(1500);
  ExtentAllocator extents;
  extents.Open(pages, segment_pages);
  std::vector<bool> used(pages, false);
  std::map<uint32_t, uint32_t> taken;  // start -> pages
  uint32_t free_pages = pages;
  for (int step = 0; step < 200'000; ++step) {
    if (random.OneIn(2)) {
      const uint32_t each = 1 + random.Below(random.OneIn(10) ? segment_pages : 20);
      const uint32_t wanted = 1 + random.Below(16);
      uint32_t start = 0;
      const uint32_t got = extents.Take(each, wanted, &start);
      ASSERT_LE(got, wanted);
      for (uint32_t i = 0; i < got; ++i, start += each) {
        ASSERT_LE(start + each, pages);
        ASSERT_EQ(start / segment_pages, (start + each - 1) / segment_pages) << "crosses a segment";
        for (uint32_t page = start; page < start + each; ++page) {
          ASSERT_FALSE(used[page]) << "page " << page << " was given twice";
          used[page] = true;
        }
        extents.SetOwner(start, each, start);
        taken[start] = each;
        free_pages -= each;
      }
      if (got == 0) {
        // Refused only when no free run is long enough.
        uint32_t run = 0;
        for (uint32_t page = 0; page < pages; ++page) {
          run = used[page] ? 0 : (page % segment_pages == 0 ? 1 : run + 1);
          ASSERT_LT(run, each) << "a free run of " << run << " pages was not found";
        }
      }
    } else if (!taken.empty()) {
      auto chosen = taken.lower_bound(random.Below(pages));
      if (chosen == taken.end()) chosen = taken.begin();
      const auto [start, each] = *chosen;
      extents.Free(start, each);
      for (uint32_t page = start; page < start + each; ++page) used[page] = false;
      free_pages += each;
      taken.erase(chosen);
    }
    ASSERT_EQ(extents.free_pages(), free_pages);
  }
  // The tags lead from extent to extent through the whole arena, and free ones are never neighbours.
  for (uint32_t segment = 0; segment < extents.segment_count(); ++segment) {
    const uint32_t end = std::min(pages, (segment + 1) * segment_pages);
    bool was_free = false;
    for (uint32_t page = segment * segment_pages; page < end;) {
      const ExtentAllocator::Extent extent = extents.At(page);
      if (extent.free) {
        ASSERT_FALSE(was_free);
        ASSERT_FALSE(used[page]);
        page += extent.pages;
      } else {
        ASSERT_EQ(extent.owner, page);
        page += taken.at(page);
      }
      was_free = extent.free;
    }
  }
  for (const auto& [start, each] : taken) extents.Free(start, each);
  EXPECT_EQ(extents.free_pages(), pages);
  EXPECT_EQ(extents.LargestFree(), std::min(pages, segment_pages));
}

TEST(ExtentAllocatorTest, MemoryGrowsWithUseOnly) {
  ExtentAllocator extents;
  extents.Open(ExtentAllocator::kMaxPages, ExtentAllocator::kMaxSegmentPages);  // 4 TiB of 4 KiB pages
  EXPECT_LT(extents.memory_bytes(), 48u << 20);
  uint32_t start = 0;
  ASSERT_EQ(extents.Take(1, 100'000, &start), 100'000u);
  for (uint32_t i = 0; i < 100'000; ++i) extents.SetOwner(start + i, 1, i);
  EXPECT_LT(extents.memory_bytes(), 49u << 20);
}

}  // namespace
}  // namespace kvferry
