#include "arena.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "crc32c.h"
#include "test_random.h"

namespace kvferry {
namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;

std::shared_ptr<Arena> OpenArena(uint64_t size_bytes, uint64_t segment_bytes = kGiB) {
  ArenaOptions options;
  options.size_bytes = size_bytes;
  options.segment_bytes = segment_bytes;
  std::shared_ptr<Arena> arena;
  const Status status = Arena::Open(options, &arena);
  EXPECT_TRUE(status.ok()) << status.message();
  return arena;
}

std::vector<SlotRef> Allocate(Arena& arena, uint64_t size_bytes, uint32_t count) {
  std::vector<SlotRef> refs(count);
  uint32_t taken = 0;
  const Status status = arena.Allocate(size_bytes, count, refs.data(), &taken);
  EXPECT_TRUE(status.ok()) << status.message();
  refs.resize(taken);
  return refs;
}

uint64_t Free(Arena& arena, const std::vector<SlotRef>& refs) {
  uint64_t returned = 0;
  const Status status = arena.Free(refs.data(), refs.size(), &returned);
  EXPECT_TRUE(status.ok()) << status.message();
  return returned;
}

StatusCode FreeCode(Arena& arena, const std::vector<SlotRef>& refs) {
  uint64_t returned = 0;
  return arena.Free(refs.data(), refs.size(), &returned).code();
}

std::vector<SlotView> Resolve(Arena& arena, const std::vector<SlotRef>& refs, SlotAccess access = SlotAccess::kRead) {
  std::vector<SlotView> views;
  const Status status = arena.Resolve(refs.data(), refs.size(), access, &views);
  EXPECT_TRUE(status.ok()) << status.message();
  return views;
}

/// Bytes that no other (slot, size) has.
std::vector<uint8_t> Pattern(uint64_t tag, size_t bytes) {
  std::mt19937_64 engine(tag);
  std::vector<uint8_t> pattern(bytes);
  for (size_t i = 0; i < bytes; i += 8) {
    const uint64_t word = engine();
    std::memcpy(pattern.data() + i, &word, std::min<size_t>(8, bytes - i));
  }
  return pattern;
}

TEST(ArenaTest, OpensAtEverySizeAndTouchesNothing) {
  for (const uint64_t size : {64 * kKiB, 32 * kMiB, 16 * kGiB, 512 * kGiB}) {
    auto arena = OpenArena(size);
    ASSERT_NE(arena, nullptr);
    EXPECT_EQ(arena->capacity_bytes(), size);
    EXPECT_EQ(arena->UsedBytes(), 0u);
    const ArenaStats stats = arena->Stats();
    EXPECT_EQ(stats.segment_count, (size + kGiB - 1) / kGiB);
    EXPECT_LE(stats.populated_bytes, 0);
    EXPECT_LT(stats.bookkeeping_bytes, 8 * kMiB);
    EXPECT_EQ(Allocate(*arena, 16 * kKiB, 4).size(), 4u);
  }
}

TEST(ArenaTest, RefusesSizesThatCannotWork) {
  std::shared_ptr<Arena> arena;
  ArenaOptions options;
  options.size_bytes = 60 * kKiB;
  EXPECT_EQ(Arena::Open(options, &arena).code(), StatusCode::kOutOfRange);
  options.size_bytes = kMiB;
  options.align_bytes = 5000;
  EXPECT_EQ(Arena::Open(options, &arena).code(), StatusCode::kOutOfRange);
  options.align_bytes = 4096;
  options.segment_bytes = 2 * kGiB;
  EXPECT_EQ(Arena::Open(options, &arena).code(), StatusCode::kOutOfRange);
  options.segment_bytes = 256 * kKiB;
  ASSERT_TRUE(Arena::Open(options, &arena).ok());
  SlotRef ref;
  uint32_t taken = 7;
  EXPECT_EQ(arena->Allocate(0, 1, &ref, &taken).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(arena->Allocate(256 * kKiB + 1, 1, &ref, &taken).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(taken, 0u);
}

TEST(ArenaTest, CountsAlignedBytesAndGivesThemBack) {
  auto arena = OpenArena(kMiB);
  const auto refs = Allocate(*arena, 5000, 3);
  EXPECT_EQ(arena->UsedBytes(), 3 * 8192u);
  EXPECT_EQ(Free(*arena, {refs[1]}), 8192u);
  EXPECT_EQ(arena->UsedBytes(), 2 * 8192u);
  EXPECT_EQ(Free(*arena, {refs[0], refs[2]}), 2 * 8192u);
  EXPECT_EQ(arena->UsedBytes(), 0u);
  EXPECT_EQ(arena->Stats().largest_free_bytes, kMiB);
}

TEST(ArenaTest, SaysHowManyItCouldTake) {
  auto arena = OpenArena(kMiB);
  EXPECT_EQ(Allocate(*arena, 300 * kKiB, 10).size(), 3u);
  EXPECT_EQ(arena->Stats().allocation_failures, 1u);
}

TEST(ArenaTest, StaleForgedAndDoubledReferencesChangeNothing) {
  auto arena = OpenArena(kMiB);
  const auto refs = Allocate(*arena, 4096, 4);
  Free(*arena, {refs[0]});
  const std::vector<std::vector<SlotRef>> wrong = {
      {refs[1], refs[0]},                                          // freed
      {refs[1], {refs[2].index, refs[2].generation + 1}},          // from the future
      {refs[1], {refs[0].index, refs[0].generation + 1}},          // the freed slot's present generation
      {refs[1], {refs[0].index, refs[0].generation + 2}},          // the freed slot's next generation
      {refs[1], {4, 1}}, {refs[1], {UINT32_MAX, 1}}, {refs[1], {0, 0}},  // never allocated
      {refs[1], refs[2], refs[1]},                                 // twice
  };
  for (const auto& batch : wrong) {
    EXPECT_EQ(FreeCode(*arena, batch), StatusCode::kStaleHandle);
    std::vector<SlotView> views;
    EXPECT_EQ(arena->Resolve(batch.data(), batch.size(), SlotAccess::kWrite, &views).code(), StatusCode::kStaleHandle);
    EXPECT_EQ(arena->EndIo(batch.data(), batch.size()).code(), StatusCode::kStaleHandle);
    EXPECT_EQ(arena->Stats().slots_in_io, 0u);
    EXPECT_EQ(arena->UsedBytes(), 3 * 4096u);
  }
  EXPECT_EQ(Free(*arena, {refs[1], refs[2], refs[3]}), 3 * 4096u);
}

TEST(ArenaTest, ASlotIsNotReusedWhileIoIsInFlight) {
  auto arena = OpenArena(64 * kKiB);
  const auto refs = Allocate(*arena, 64 * kKiB, 1);
  const auto views = Resolve(*arena, refs);
  EXPECT_EQ(Free(*arena, refs), 0u);
  EXPECT_EQ(arena->UsedBytes(), 64 * kKiB);
  EXPECT_EQ(arena->Stats().draining_bytes, 64 * kKiB);
  EXPECT_TRUE(Allocate(*arena, 4096, 1).empty());
  EXPECT_EQ(arena->Close().code(), StatusCode::kBusy);
  std::memset(views[0].data, 1, views[0].bytes);  // still ours
  arena->FinishIo(views[0].index);
  EXPECT_EQ(arena->UsedBytes(), 0u);
  EXPECT_EQ(arena->Stats().draining_bytes, 0u);
  EXPECT_EQ(Allocate(*arena, 4096, 1).size(), 1u);
}

TEST(ArenaTest, OutsideIoSurvivesFreeAndEndsOncePerBegin) {
  auto arena = OpenArena(kMiB);
  const auto refs = Allocate(*arena, 4096, 2);
  const std::vector<SlotRef> thrice = {refs[0], refs[0], refs[0]};
  ASSERT_TRUE(arena->BeginIo(thrice.data(), 3).ok());
  EXPECT_EQ(Free(*arena, {refs[0]}), 0u);
  EXPECT_EQ(arena->EndIo(&refs[1], 1).code(), StatusCode::kStaleHandle);
  ASSERT_TRUE(arena->EndIo(thrice.data(), 2).ok());
  EXPECT_EQ(arena->UsedBytes(), 2 * 4096u);
  // Two for the one that is left: refused as a whole.
  EXPECT_EQ(arena->EndIo(thrice.data(), 2).code(), StatusCode::kStaleHandle);
  EXPECT_EQ(arena->UsedBytes(), 2 * 4096u);
  ASSERT_TRUE(arena->EndIo(thrice.data(), 1).ok());
  EXPECT_EQ(arena->UsedBytes(), 4096u);
  EXPECT_EQ(arena->EndIo(thrice.data(), 1).code(), StatusCode::kStaleHandle);
}

TEST(ArenaTest, EndIoCannotEndTheIoOfAnOperation) {
  auto arena = OpenArena(kMiB);
  const auto refs = Allocate(*arena, 4096, 1);
  const auto views = Resolve(*arena, refs);
  EXPECT_EQ(arena->EndIo(refs.data(), 1).code(), StatusCode::kStaleHandle);
  Free(*arena, refs);
  EXPECT_EQ(arena->EndIo(refs.data(), 1).code(), StatusCode::kStaleHandle);
  EXPECT_EQ(arena->UsedBytes(), 4096u);
  arena->FinishIo(views[0].index);
  EXPECT_EQ(arena->UsedBytes(), 0u);
}

TEST(ArenaTest, ChecksumsAreKeptUntilTheBytesChange) {
  auto arena = OpenArena(kMiB);
  const auto refs = Allocate(*arena, 10'000, 1);
  const auto bytes = Pattern(1, 10'000);
  ASSERT_TRUE(arena->Write(refs[0], 0, bytes.data(), bytes.size()).ok());
  uint32_t known = 0;
  EXPECT_FALSE(arena->GetChecksum(refs[0].index, &known));
  uint32_t crc = 0;
  ASSERT_TRUE(arena->Checksums(refs.data(), 1, &crc).ok());
  EXPECT_EQ(crc, Crc32c(bytes.data(), bytes.size()));
  EXPECT_TRUE(arena->GetChecksum(refs[0].index, &known));
  ASSERT_TRUE(arena->Write(refs[0], 9'999, "x", 1).ok());
  EXPECT_FALSE(arena->GetChecksum(refs[0].index, &known));
  EXPECT_EQ(arena->Write(refs[0], 9'999, "xy", 2).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(arena->Write(refs[0], UINT64_MAX, "xy", 2).code(), StatusCode::kOutOfRange);
  ASSERT_TRUE(arena->Checksums(refs.data(), 1, &crc).ok());
  const auto views = Resolve(*arena, refs, SlotAccess::kWrite);
  EXPECT_FALSE(arena->GetChecksum(refs[0].index, &known)) << "an operation is about to overwrite the slot";
  arena->FinishIo(views[0].index);
}

TEST(ArenaTest, ANewSizeFitsWhileEnoughBytesAreFreeByMovingSlots) {
  auto arena = OpenArena(kMiB);
  auto refs = Allocate(*arena, 4096, 256);
  ASSERT_EQ(refs.size(), 256u);
  std::vector<SlotRef> kept;
  std::vector<SlotRef> dropped;
  for (size_t i = 0; i < refs.size(); ++i) {
    const auto bytes = Pattern(i, 4096);
    ASSERT_TRUE(arena->Write(refs[i], 0, bytes.data(), bytes.size()).ok());
    (i % 2 == 0 ? dropped : kept).push_back(refs[i]);
  }
  Free(*arena, dropped);
  EXPECT_EQ(arena->Stats().largest_free_bytes, 4096u);
  EXPECT_EQ(Allocate(*arena, 512 * kKiB, 1).size(), 1u);
  EXPECT_EQ(arena->UsedBytes(), kMiB);
  EXPECT_GT(arena->Stats().compacted_bytes, 0u);
  std::vector<uint8_t> read(4096);
  for (size_t i = 0; i < kept.size(); ++i) {
    ASSERT_TRUE(arena->Read(kept[i], 0, read.data(), read.size()).ok());
    ASSERT_EQ(read, Pattern(2 * i + 1, 4096));
  }
}

TEST(ArenaTest, SlotsWithIoAreNeverMoved) {
  auto arena = OpenArena(64 * kKiB);
  const auto refs = Allocate(*arena, 4096, 16);
  // Free on both sides of a slot in the middle that is under I/O.
  const auto views = Resolve(*arena, {refs[8]});
  std::vector<SlotRef> others;
  for (size_t i = 0; i < 16; ++i) {
    if (i != 8) others.push_back(refs[i]);
  }
  Free(*arena, others);
  EXPECT_TRUE(Allocate(*arena, 40 * kKiB, 1).empty()) << "60 KiB are free, but in two runs that only a move could join";
  double offset = 0;
  ASSERT_TRUE(arena->Offsets(&refs[8], 1, &offset).ok());
  EXPECT_EQ(offset, 8 * 4096.0);
  arena->FinishIo(views[0].index);
  EXPECT_EQ(Allocate(*arena, 40 * kKiB, 1).size(), 1u);
  ASSERT_TRUE(arena->Offsets(&refs[8], 1, &offset).ok());
}

TEST(ArenaTest, SlotsLeaveAWindowForOtherSegmentsWhenNoSegmentHasEnoughOfItsOwn) {
  auto arena = OpenArena(256 * kKiB, 64 * kKiB);
  const auto refs = Allocate(*arena, 16 * kKiB, 16);
  ASSERT_EQ(refs.size(), 16u);
  // One slot free in each of the four segments: 64 KiB in all, 16 in each.
  Free(*arena, {refs[0], refs[5], refs[10], refs[15]});
  EXPECT_EQ(Allocate(*arena, 64 * kKiB, 1).size(), 1u);
  EXPECT_EQ(arena->UsedBytes(), 256 * kKiB);
}

TEST(ArenaTest, WhatFailedForFragmentationSucceedsOnceTheIoInItsWayEnds) {
  // The arena remembers a failure only when no I/O was in the way; here some is, and then ends without any other change.
  auto arena = OpenArena(64 * kKiB);
  const auto refs = Allocate(*arena, 4096, 16);
  const auto views = Resolve(*arena, {refs[8]});
  std::vector<SlotRef> others;
  for (size_t i = 0; i < 16; ++i) {
    if (i != 8) others.push_back(refs[i]);
  }
  Free(*arena, others);
  EXPECT_TRUE(Allocate(*arena, 60 * kKiB, 1).empty());
  arena->FinishIo(views[0].index);
  EXPECT_EQ(Allocate(*arena, 60 * kKiB, 1).size(), 1u);
}

TEST(ArenaTest, ObjectsThatLeaveNoRoomInAnySegmentAreNotMovedInVain) {
  // Three quarters of each segment are one object; the free quarters would be enough in sum, and nothing can be done.
  auto arena = OpenArena(256 * kKiB, 64 * kKiB);
  const auto refs = Allocate(*arena, 48 * kKiB, 4);
  ASSERT_EQ(refs.size(), 4u);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Allocate(*arena, 20 * kKiB, 1).empty());
  EXPECT_EQ(arena->Stats().compacted_bytes, 0u);
  Free(*arena, {refs[2]});
  EXPECT_EQ(Allocate(*arena, 20 * kKiB, 4).size(), 3u);
}

TEST(ArenaTest, RandomLifeKeepsEveryByte) {
  TestRandom random;
  const uint64_t segment = 256 * kKiB << random.Below(3);
  auto arena = OpenArena(2 * kMiB, segment);
  struct Object {
    SlotRef ref;
    uint64_t tag;
    uint32_t bytes;
    std::vector<SlotView> io;
    uint32_t outside = 0;
  };
  std::vector<Object> live;
  std::vector<Object> dropped;
  uint64_t next_tag = 1;
  for (int step = 0; step < 20'000; ++step) {
    const uint32_t action = random.Below(10);
    if (action < 4) {
      const uint32_t bytes = 1 + random.Below(random.OneIn(8) ? 200 * 1024 : 20 * 1024);
      const uint64_t free_before = arena->capacity_bytes() - arena->UsedBytes();
      const auto refs = Allocate(*arena, bytes, 1 + random.Below(8));
      if (refs.empty() && dropped.empty() && segment == arena->capacity_bytes()) {
        // One segment, nothing under I/O: only lack of bytes may refuse.
        bool any_io = false;
        for (const Object& object : live) any_io = any_io || !object.io.empty() || object.outside > 0;
        if (!any_io) {
          ASSERT_LT(free_before, (bytes + 4095) / 4096 * 4096u);
        }
      }
      for (const SlotRef ref : refs) {
        const Object object{ref, next_tag++, bytes, {}, 0};
        const auto pattern = Pattern(object.tag, bytes);
        ASSERT_TRUE(arena->Write(ref, 0, pattern.data(), bytes).ok());
        live.push_back(object);
      }
    } else if (action < 7 && !live.empty()) {
      const size_t chosen = random.Below(static_cast<uint32_t>(live.size()));
      std::vector<uint8_t> read(live[chosen].bytes);
      ASSERT_TRUE(arena->Read(live[chosen].ref, 0, read.data(), read.size()).ok());
      ASSERT_EQ(read, Pattern(live[chosen].tag, read.size()));
      Free(*arena, {live[chosen].ref});
      if (!live[chosen].io.empty() || live[chosen].outside > 0) dropped.push_back(live[chosen]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(chosen));
    } else if (action == 7 && !live.empty()) {
      Object& object = live[random.Below(static_cast<uint32_t>(live.size()))];
      if (random.OneIn(2)) {
        object.io.push_back(Resolve(*arena, {object.ref})[0]);
      } else {
        ASSERT_TRUE(arena->BeginIo(&object.ref, 1).ok());
        object.outside += 1;
      }
    } else {
      // End one I/O somewhere; the bytes must be where they were when it began.
      std::vector<Object>& list = random.OneIn(2) ? live : dropped;
      if (list.empty()) continue;
      const size_t chosen = random.Below(static_cast<uint32_t>(list.size()));
      Object& object = list[chosen];
      if (!object.io.empty()) {
        const SlotView view = object.io.back();
        const auto pattern = Pattern(object.tag, object.bytes);
        ASSERT_EQ(std::memcmp(view.data, pattern.data(), object.bytes), 0);
        object.io.pop_back();
        arena->FinishIo(view.index);
      } else if (object.outside > 0) {
        object.outside -= 1;
        ASSERT_TRUE(arena->EndIo(&object.ref, 1).ok());
      }
      if (&list == &dropped && object.io.empty() && object.outside == 0) dropped.erase(dropped.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
    uint64_t expected = 0;
    for (const Object& object : live) expected += (object.bytes + 4095) / 4096 * 4096u;
    for (const Object& object : dropped) expected += (object.bytes + 4095) / 4096 * 4096u;
    ASSERT_EQ(arena->UsedBytes(), expected);
  }
  for (const Object& object : live) {
    std::vector<uint8_t> read(object.bytes);
    ASSERT_TRUE(arena->Read(object.ref, 0, read.data(), read.size()).ok());
    ASSERT_EQ(read, Pattern(object.tag, read.size()));
  }
}

// Run under TSan: workers finish I/O while the owner allocates, frees and compacts.
TEST(ArenaTest, WorkersEndIoWhileTheOwnerGoesOn) {
  auto arena = OpenArena(4 * kMiB);
  std::atomic<bool> stop{false};
  std::atomic<int> finished{0};
  std::mutex mutex;
  std::vector<SlotView> queue;
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([&] {
      for (;;) {
        SlotView view{};
        {
          std::lock_guard<std::mutex> lock(mutex);
          if (queue.empty()) {
            if (stop) return;
            continue;
          }
          view = queue.back();
          queue.pop_back();
        }
        std::memset(view.data, 0x77, view.bytes);
        arena->SetChecksum(view.index, 1);
        arena->FinishIo(view.index);
        finished += 1;
      }
    });
  }
  TestRandom random;
  std::vector<SlotRef> live;
  while (finished < 20'000) {
    for (const SlotRef ref : Allocate(*arena, 1 + random.Below(40'000), 8)) {
      const auto views = Resolve(*arena, {ref}, SlotAccess::kWrite);
      {
        std::lock_guard<std::mutex> lock(mutex);
        queue.push_back(views[0]);
      }
      live.push_back(ref);
    }
    while (live.size() > 100 || (!live.empty() && random.OneIn(3))) {
      const size_t chosen = random.Below(static_cast<uint32_t>(live.size()));
      Free(*arena, {live[chosen]});
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
  }
  stop = true;
  for (std::thread& worker : workers) worker.join();
  Free(*arena, live);
  EXPECT_EQ(arena->UsedBytes(), 0u);
  EXPECT_EQ(arena->Stats().slots_in_io, 0u);
  EXPECT_EQ(arena->Stats().largest_free_bytes, 4 * kMiB);
  EXPECT_TRUE(arena->Close().ok());
}

TEST(ArenaTest, ASlotCostsAtMost28BytesOfBookkeeping) {
  auto arena = OpenArena(4 * kGiB);
  const uint32_t slots = 1'000'000;
  const auto refs = Allocate(*arena, 4096, slots);
  ASSERT_EQ(refs.size(), slots);
  // 64 KiB of fixed parts beside the 28 bytes per slot.
  EXPECT_LE(arena->Stats().bookkeeping_bytes, 28.0 * slots + 65536);
}

TEST(ArenaTest, AClosedArenaAnswersWithClosed) {
  auto arena = OpenArena(kMiB);
  const auto refs = Allocate(*arena, 4096, 1);
  ASSERT_TRUE(arena->Close().ok());
  ASSERT_TRUE(arena->Close().ok());
  EXPECT_EQ(FreeCode(*arena, refs), StatusCode::kClosed);
  SlotRef ref;
  uint32_t taken = 0;
  EXPECT_EQ(arena->Allocate(4096, 1, &ref, &taken).code(), StatusCode::kClosed);
  EXPECT_EQ(arena->Read(refs[0], 0, &ref, 1).code(), StatusCode::kClosed);
  EXPECT_EQ(arena->Stats().used_bytes, 0u);
}

TEST(ArenaTest, SharedMemoryIsAllocatedNamedAndUnlinked) {
  ArenaOptions options;
  options.size_bytes = 2 * kMiB;
  options.shared_name = "kvferry_test_" + std::to_string(getpid());
  std::shared_ptr<Arena> arena;
  const Status status = Arena::Open(options, &arena);
  ASSERT_TRUE(status.ok()) << status.message();
  const std::string path = "/dev/shm/" + options.shared_name;
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  EXPECT_GE(arena->Stats().populated_bytes, 0);
  std::shared_ptr<Arena> second;
  EXPECT_EQ(Arena::Open(options, &second).code(), StatusCode::kNameTaken) << "the name is taken";
  EXPECT_EQ(access(path.c_str(), F_OK), 0) << "a refused second arena must not unlink the first's memory";
  ASSERT_TRUE(arena->Close().ok());
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  options.shared_name = "a/b";
  EXPECT_EQ(Arena::Open(options, &arena).code(), StatusCode::kInvalidArgument);
}

TEST(ArenaTest, ASealedSlotIsOnlyRead) {
  auto arena = OpenArena(kMiB);
  const auto refs = Allocate(*arena, 8192, 3);
  const auto bytes = Pattern(4, 8192);
  for (const SlotRef ref : refs) ASSERT_TRUE(arena->Write(ref, 0, bytes.data(), bytes.size()).ok());
  uint32_t in_io = 9;
  ASSERT_TRUE(arena->BeginIo(&refs[1], 1).ok());
  ASSERT_TRUE(arena->Seal(refs.data(), 3, &in_io).ok());
  EXPECT_EQ(in_io, 1u);
  EXPECT_TRUE(arena->Write(refs[0], 0, bytes.data(), 1).ok()) << "one slot with I/O, and none is sealed";
  ASSERT_TRUE(arena->EndIo(&refs[1], 1).ok());
  EXPECT_EQ(arena->Seal(std::vector<SlotRef>{refs[0], {7, 7}}.data(), 2, &in_io).code(), StatusCode::kStaleHandle);
  EXPECT_TRUE(arena->Write(refs[0], 0, bytes.data(), 1).ok()) << "one bad reference, and none is sealed";
  ASSERT_TRUE(arena->Seal(refs.data(), 2, &in_io).ok());
  EXPECT_EQ(in_io, 0u);

  EXPECT_EQ(arena->Write(refs[0], 0, bytes.data(), 1).code(), StatusCode::kStaleHandle);
  EXPECT_EQ(arena->Write(refs[0], 0, bytes.data(), 0).code(), StatusCode::kStaleHandle);
  std::vector<SlotView> views;
  const SlotRef open_then_sealed[] = {refs[2], refs[1]};
  uint32_t crc = 0;
  ASSERT_TRUE(arena->Checksums(&refs[2], 1, &crc).ok());
  EXPECT_EQ(arena->Resolve(open_then_sealed, 2, SlotAccess::kWrite, &views).code(), StatusCode::kStaleHandle);
  EXPECT_EQ(arena->Stats().slots_in_io, 0u);
  EXPECT_TRUE(arena->GetChecksum(refs[2].index, &crc)) << "the refused call left the other slot's checksum alone";

  views = Resolve(*arena, refs, SlotAccess::kRead);
  for (const SlotView& view : views) arena->FinishIo(view.index);
  std::vector<uint8_t> read(8192);
  ASSERT_TRUE(arena->Read(refs[0], 0, read.data(), read.size()).ok());
  EXPECT_EQ(read, bytes);
  ASSERT_TRUE(arena->BeginIo(refs.data(), 3).ok());
  ASSERT_TRUE(arena->EndIo(refs.data(), 3).ok());

  Free(*arena, refs);
  const auto next = Allocate(*arena, 8192, 3);
  for (const SlotRef ref : next) EXPECT_TRUE(arena->Write(ref, 0, bytes.data(), bytes.size()).ok()) << "a new generation is open";
}

TEST(ArenaTest, NothingOfAnEarlierOwnerCanBeRead) {
  constexpr uint32_t kBytes = 10000;
  const std::vector<uint8_t> secret(kBytes, 0x53);
  const std::vector<uint8_t> zeros(kBytes, 0);
  // What the second owner does with a slot, and what its object must be then.
  struct Case {
    const char* what;
    void (*act)(Arena& arena, SlotRef ref);
    std::vector<uint8_t> expected;
  };
  std::vector<uint8_t> middle = zeros;
  std::fill(middle.begin() + 5000, middle.begin() + 5003, uint8_t{7});
  std::vector<uint8_t> twice = middle;
  std::fill(twice.begin() + 9997, twice.end(), uint8_t{7});
  const uint8_t sevens[3] = {7, 7, 7};
  static const uint8_t* bytes;
  bytes = sevens;
  const Case cases[] = {
      {"seal", [](Arena& arena, SlotRef ref) { uint32_t in_io; ASSERT_TRUE(arena.Seal(&ref, 1, &in_io).ok()); }, zeros},
      {"seal, and an outside reader",
       [](Arena& arena, SlotRef ref) {
         uint32_t in_io;
         ASSERT_TRUE(arena.Seal(&ref, 1, &in_io).ok());
         ASSERT_TRUE(arena.BeginIo(&ref, 1).ok());
         ASSERT_TRUE(arena.EndIo(&ref, 1).ok());
       },
       zeros},
      {"read", [](Arena&, SlotRef) {}, zeros},
      {"write of nothing", [](Arena& arena, SlotRef ref) { ASSERT_TRUE(arena.Write(ref, 3, bytes, 0).ok()); }, zeros},
      {"write in the middle", [](Arena& arena, SlotRef ref) { ASSERT_TRUE(arena.Write(ref, 5000, bytes, 3).ok()); }, middle},
      {"second write keeps the first",
       [](Arena& arena, SlotRef ref) {
         ASSERT_TRUE(arena.Write(ref, 5000, bytes, 3).ok());
         ASSERT_TRUE(arena.Write(ref, 9997, bytes, 3).ok());
       },
       twice},
      {"operation that reads", [](Arena& arena, SlotRef ref) { for (const SlotView& view : Resolve(arena, {ref})) arena.FinishIo(view.index); }, zeros},
      {"checksum", [](Arena& arena, SlotRef ref) { uint32_t crc; ASSERT_TRUE(arena.Checksums(&ref, 1, &crc).ok()); }, zeros},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    auto arena = OpenArena(64 * kKiB);
    const auto first = Allocate(*arena, kBytes, 1);
    ASSERT_TRUE(arena->Write(first[0], 0, secret.data(), kBytes).ok());
    uint8_t* const place = Resolve(*arena, first)[0].data;
    arena->FinishIo(first[0].index);
    Free(*arena, first);
    const auto second = Allocate(*arena, kBytes, 1);
    std::vector<SlotView> views;
    ASSERT_TRUE(arena->View(second.data(), 1, &views).ok());
    ASSERT_EQ(views[0].data, place) << "the same memory, or the test shows nothing";
    ASSERT_EQ(place[9999], 0x53);
    one.act(*arena, second[0]);
    std::vector<uint8_t> read(kBytes);
    ASSERT_TRUE(arena->Read(second[0], 0, read.data(), kBytes).ok());
    EXPECT_EQ(read, one.expected);
    uint32_t crc = 0;
    ASSERT_TRUE(arena->Checksums(second.data(), 1, &crc).ok());
    EXPECT_EQ(crc, Crc32c(one.expected.data(), kBytes));
  }
}

TEST(ArenaTest, WhatAnOperationOrAnOutsideHolderWroteStays) {
  auto arena = OpenArena(kMiB);
  const auto refs = Allocate(*arena, 8192, 2);
  const SlotView written = Resolve(*arena, {refs[0]}, SlotAccess::kWrite)[0];
  std::memset(written.data, 1, 8192);
  arena->FinishIo(written.index);
  ASSERT_TRUE(arena->BeginIo(&refs[1], 1).ok());
  std::vector<SlotView> views;
  ASSERT_TRUE(arena->View(&refs[1], 1, &views).ok());
  std::memset(views[0].data, 1, 8192);
  ASSERT_TRUE(arena->EndIo(&refs[1], 1).ok());
  uint32_t in_io = 0;
  ASSERT_TRUE(arena->Seal(refs.data(), 2, &in_io).ok());
  for (const SlotRef ref : refs) {
    std::vector<uint8_t> read(8192);
    ASSERT_TRUE(arena->Read(ref, 0, read.data(), read.size()).ok());
    EXPECT_EQ(read, std::vector<uint8_t>(8192, 1));
  }
}

TEST(ArenaTest, PopulatesInTheBackgroundWithoutChangingBytes) {
  ArenaOptions options;
  options.size_bytes = 64 * kMiB;
  options.populate_ahead_bytes = 64 * kMiB;
  std::shared_ptr<Arena> arena;
  ASSERT_TRUE(Arena::Open(options, &arena).ok());
  const auto refs = Allocate(*arena, kMiB, 64);
  const auto bytes = Pattern(9, kMiB);
  for (const SlotRef ref : refs) ASSERT_TRUE(arena->Write(ref, 0, bytes.data(), bytes.size()).ok());
  std::vector<uint8_t> read(kMiB);
  for (const SlotRef ref : refs) {
    ASSERT_TRUE(arena->Read(ref, 0, read.data(), read.size()).ok());
    ASSERT_EQ(read, bytes);
  }
  EXPECT_EQ(arena->Stats().populated_bytes, static_cast<int64_t>(64 * kMiB));
}

TEST(ArenaTest, PopulatesAsFarAheadOfUseAsAskedAndNoFurther) {
  ArenaOptions options;
  options.size_bytes = 256 * kMiB;
  options.populate_ahead_bytes = 16 * kMiB;
  std::shared_ptr<Arena> arena;
  ASSERT_TRUE(Arena::Open(options, &arena).ok());
  const auto populated = [&](int64_t wanted) {
    for (int tries = 0; tries < 2000 && arena->Stats().populated_bytes < wanted; ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return arena->Stats().populated_bytes;
  };
  EXPECT_EQ(populated(16 * kMiB), static_cast<int64_t>(16 * kMiB));
  const auto refs = Allocate(*arena, kMiB, 8);
  EXPECT_EQ(populated(24 * kMiB), static_cast<int64_t>(24 * kMiB));
  // Memory that is used again is no news.
  uint64_t returned = 0;
  ASSERT_TRUE(arena->Free(refs.data(), refs.size(), &returned).ok());
  Allocate(*arena, kMiB, 4);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(arena->Stats().populated_bytes, static_cast<int64_t>(24 * kMiB));
}

}  // namespace
}  // namespace kvferry
