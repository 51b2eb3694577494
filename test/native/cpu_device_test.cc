// Gather and scatter as operations of an engine: bytes, checksums, refusals that change nothing, lifetimes.
#include "cpu_device.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "crc32c.h"
#include "engine_harness.h"
#include "random_layout.h"

namespace kvferry {
namespace {

constexpr uint32_t kLayers = 4;
constexpr uint32_t kBlocks = 12;

/// Four layers of [2][blocks][16 tokens][4 heads][64 bytes] in one tensor each; a chunk is 32 tokens.
class CpuDeviceTest : public testing::Test {
 protected:
  explicit CpuDeviceTest(EngineOptions options = {}) : harness_(options), device_(harness_.engine) {
    spec_.layers = kLayers;
    spec_.planes = 2;
    spec_.heads = 4;
    spec_.head_bytes = 64;
    spec_.block_tokens = 16;
    spec_.chunk_tokens = 32;
    spec_.block_count = kBlocks;
    spec_.head_stride = 64;
    spec_.token_stride = 256;
    spec_.block_stride = 16 * 256;
    spec_.plane_stride = kBlocks * spec_.block_stride;
    layer_bytes_ = 2 * spec_.plane_stride;
    memory_.resize(kLayers * layer_bytes_);
    for (size_t i = 0; i < memory_.size(); ++i) memory_[i] = static_cast<uint8_t>(i * 31 + i / 251);
    EXPECT_TRUE(device_.RegisterMemory(memory_.data(), memory_.size(), &region_).ok());
    for (uint32_t layer = 0; layer < kLayers; ++layer) offsets_.push_back(static_cast<double>(layer * layer_bytes_));
    EXPECT_TRUE(device_.RegisterLayout(spec_, std::vector<uint32_t>(kLayers, region_), offsets_, &layout_).ok());
    EXPECT_TRUE(device_.ImageBytes(layout_, &image_bytes_).ok());
    reference_ = spec_;
    for (uint32_t layer = 0; layer < kLayers; ++layer)
      reference_.pointers.push_back({reinterpret_cast<uintptr_t>(memory_.data()) + layer * layer_bytes_, memory_.size() - layer * layer_bytes_});
  }

  EngineHarness harness_;
  CpuDevice device_;
  KvLayoutSpec spec_;
  KvLayoutSpec reference_;
  uint64_t layer_bytes_ = 0;
  std::vector<uint8_t> memory_;
  std::vector<double> offsets_;
  uint32_t region_ = 0;
  uint32_t layout_ = 0;
  uint64_t image_bytes_ = 0;
};

TEST_F(CpuDeviceTest, GathersBlocksAndLeavesTheChecksumInTheSlot) {
  const std::vector<SlotRef> slots = harness_.Slots(image_bytes_, 3);
  const std::vector<int32_t> ids = {7, 2, -1, 11, 3, 4};
  const uint32_t op = harness_.NextOp();
  ASSERT_TRUE(device_.Gather(op, layout_, harness_.arena, slots.data(), slots.size(), ids).ok());
  EXPECT_EQ(harness_.Await(op), (std::vector<int32_t>{0, 0, 0}));
  for (size_t i = 0; i < slots.size(); ++i) {
    const std::vector<uint8_t> wanted = ReferenceGather(reference_, ids.data() + 2 * i);
    EXPECT_EQ(harness_.Read(slots[i], image_bytes_), wanted);
    uint32_t crc = 0;
    ASSERT_TRUE(harness_.arena->GetChecksum(slots[i].index, &crc)) << "set by the gather, not computed later";
    EXPECT_EQ(crc, Crc32c(wanted.data(), wanted.size()));
  }
}

TEST_F(CpuDeviceTest, ScattersWhatItGatheredAndSkipsTokensOfTheFirstSlotOnly) {
  const std::vector<SlotRef> slots = harness_.Slots(image_bytes_, 2);
  const std::vector<int32_t> from = {0, 1, 2, 3};
  uint32_t op = harness_.NextOp();
  ASSERT_TRUE(device_.Gather(op, layout_, harness_.arena, slots.data(), 2, from).ok());
  harness_.Await(op);
  const std::vector<uint8_t> before = memory_;
  const std::vector<int32_t> to = {8, 9, 10, -1};
  ReferenceScatter(reference_, to.data(), 21, harness_.Read(slots[0], image_bytes_));
  ReferenceScatter(reference_, to.data() + 2, 0, harness_.Read(slots[1], image_bytes_));
  const std::vector<uint8_t> wanted = memory_;
  ASSERT_NE(wanted, before);
  std::memcpy(memory_.data(), before.data(), before.size());
  op = harness_.NextOp();
  ASSERT_TRUE(device_.Scatter(op, layout_, harness_.arena, slots.data(), 2, to, 21).ok());
  EXPECT_EQ(harness_.Await(op), (std::vector<int32_t>{0, 0}));
  EXPECT_EQ(memory_, wanted);
}

TEST_F(CpuDeviceTest, ARefusedCallChangesNothing) {
  const std::vector<SlotRef> slots = harness_.Slots(image_bytes_, 1);
  const std::vector<SlotRef> small = harness_.Slots(image_bytes_ - 1, 1);
  const std::vector<int32_t> ids = {0, 1};
  uint32_t crc = 0;
  ASSERT_TRUE(harness_.arena->Checksums(slots.data(), 1, &crc).ok());
  const std::vector<uint8_t> before = harness_.Read(slots[0], image_bytes_);
  auto refusal = [&](const Status& status) {
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(harness_.arena->Stats().slots_in_io, 0u);
    EXPECT_EQ(harness_.engine->Stats().pending_operations, 0u);
    return status.message();
  };
  EXPECT_EQ(refusal(device_.Gather(1, layout_, harness_.arena, slots.data(), 1, {0})), "blockIds has 1 entries; 1 slots of 2 blocks need 2");
  EXPECT_EQ(refusal(device_.Gather(1, layout_, harness_.arena, slots.data(), 1, {0, kBlocks})), "blockIds[1] is 12; allowed are 0 to 11, or -1 for a null block");
  EXPECT_EQ(refusal(device_.Gather(1, layout_ + 7, harness_.arena, slots.data(), 1, ids)), "no layout is registered as " + std::to_string(layout_ + 7));
  EXPECT_EQ(refusal(device_.Scatter(1, layout_, harness_.arena, slots.data(), 1, ids, 33)), "skipTokens is 33; allowed are 0 to 32, the tokens of one object");
  EXPECT_NE(refusal(device_.Gather(1, layout_, harness_.arena, small.data(), 1, ids)).find("an object of this layout has"), std::string::npos);
  const SlotRef forged{slots[0].index, slots[0].generation + 2};
  refusal(device_.Gather(1, layout_, harness_.arena, &forged, 1, ids));
  const std::vector<SlotRef> twice = {slots[0], slots[0]};
  refusal(device_.Gather(1, layout_, harness_.arena, twice.data(), 2, {0, 1, 2, 3}));
  EXPECT_TRUE(harness_.arena->GetChecksum(slots[0].index, &crc)) << "a refused gather must not cost the slot its checksum";
  EXPECT_EQ(harness_.Read(slots[0], image_bytes_), before);
}

TEST_F(CpuDeviceTest, MemoryAndLayoutsInUseStay) {
  EXPECT_EQ(device_.UnregisterMemory(region_).code(), StatusCode::kBusy);
  EXPECT_EQ(device_.UnregisterMemory(region_ + 1).code(), StatusCode::kOutOfRange);
  EXPECT_TRUE(device_.UnregisterLayout(layout_).ok());
  EXPECT_EQ(device_.UnregisterLayout(layout_).code(), StatusCode::kOutOfRange);
  EXPECT_TRUE(device_.UnregisterMemory(region_).ok());
  EXPECT_TRUE(device_.Close().ok());
  EXPECT_EQ(device_.RegisterMemory(memory_.data(), 1, &region_).code(), StatusCode::kClosed);
}

TEST_F(CpuDeviceTest, RegionsAndOffsetsAreChecked) {
  uint32_t layout = 0;
  auto refusal = [&](std::vector<uint32_t> regions, std::vector<double> offsets) {
    const Status status = device_.RegisterLayout(spec_, regions, offsets, &layout);
    EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
    return status.message();
  };
  EXPECT_EQ(refusal({region_, region_, region_, 99}, offsets_), "regionIds[3] is 99, which is not registered");
  EXPECT_EQ(refusal({region_}, offsets_), "regionOffsets has 4 entries; regionIds has 1");
  for (double bad : {-1.0, 0.5, 1e30, static_cast<double>(memory_.size() + 1), std::nan("")}) {
    std::vector<double> offsets = offsets_;
    offsets[2] = bad;
    EXPECT_EQ(refusal(std::vector<uint32_t>(4, region_), offsets).rfind("regionOffsets[2] is ", 0), 0u) << bad;
  }
  EXPECT_EQ(device_.RegisterMemory(memory_.data(), 0, &layout).code(), StatusCode::kOutOfRange);
}

// Slots of some megabytes are cut into parts for several threads; their checksums must still be those of the whole.
TEST(CpuDevice, LargeSlotsAreSharedByTheThreads) {
  EngineOptions options;
  options.copy_threads = 3;
  EngineHarness harness(options, uint64_t{128} << 20);
  CpuDevice device(harness.engine);
  KvLayoutSpec spec;
  spec.layers = 8;
  spec.planes = 2;
  spec.heads = 8;
  spec.head_bytes = 256;
  spec.block_tokens = 16;
  spec.chunk_tokens = 256;
  spec.block_count = 40;
  spec.head_stride = 256;
  spec.token_stride = 2048;
  spec.plane_stride = 16 * 2048;
  spec.block_stride = 2 * spec.plane_stride;
  const uint64_t layer_bytes = 40 * spec.block_stride;
  std::vector<uint8_t> memory(8 * layer_bytes);
  TestRandom random;
  for (size_t i = 0; i < memory.size(); i += 8) {
    const uint64_t word = random.Next();
    std::memcpy(memory.data() + i, &word, 8);
  }
  uint32_t region = 0;
  ASSERT_TRUE(device.RegisterMemory(memory.data(), memory.size(), &region).ok());
  std::vector<double> offsets;
  for (uint64_t layer = 0; layer < 8; ++layer) offsets.push_back(static_cast<double>(layer * layer_bytes));
  uint32_t layout = 0;
  ASSERT_TRUE(device.RegisterLayout(spec, std::vector<uint32_t>(8, region), offsets, &layout).ok());
  for (uint64_t layer = 0; layer < 8; ++layer) spec.pointers.push_back({reinterpret_cast<uintptr_t>(memory.data()) + layer * layer_bytes, layer_bytes});
  uint64_t bytes = 0;
  ASSERT_TRUE(device.ImageBytes(layout, &bytes).ok());
  ASSERT_EQ(bytes, uint64_t{8} << 20);
  for (int round = 0; round < 4; ++round) {
    const std::vector<SlotRef> slots = harness.Slots(bytes, 2);
    const std::vector<int32_t> ids = [&] {
      std::vector<int32_t> made = RandomBlockIds(random, spec, false);
      const std::vector<int32_t> more = RandomBlockIds(random, spec, false);
      made.insert(made.end(), more.begin(), more.end());
      return made;
    }();
    const uint32_t op = harness.NextOp();
    ASSERT_TRUE(device.Gather(op, layout, harness.arena, slots.data(), 2, ids).ok());
    EXPECT_EQ(harness.Await(op), (std::vector<int32_t>{0, 0}));
    for (size_t i = 0; i < 2; ++i) {
      const std::vector<uint8_t> wanted = ReferenceGather(spec, ids.data() + 16 * i);
      EXPECT_TRUE(harness.Read(slots[i], bytes) == wanted);
      uint32_t crc = 0;
      ASSERT_TRUE(harness.arena->GetChecksum(slots[i].index, &crc));
      EXPECT_EQ(crc, Crc32c(wanted.data(), wanted.size()));
    }
    uint64_t returned = 0;
    ASSERT_TRUE(harness.arena->Free(slots.data(), 2, &returned).ok());
  }
}

EngineOptions Stepped() {
  EngineOptions options;
  options.stepped = true;
  return options;
}

class SteppedCpuDeviceTest : public CpuDeviceTest {
 protected:
  SteppedCpuDeviceTest() : CpuDeviceTest(Stepped()) {}
};

TEST_F(SteppedCpuDeviceTest, OperationsRunOneByOneAndHoldWhatTheyUse) {
  const std::vector<SlotRef> slots = harness_.Slots(image_bytes_, 2);
  ASSERT_TRUE(device_.Gather(1, layout_, harness_.arena, slots.data(), 1, {1, 2}).ok());
  ASSERT_TRUE(device_.Gather(2, layout_, harness_.arena, slots.data() + 1, 1, {3, 4}).ok());
  EXPECT_EQ(device_.UnregisterLayout(layout_).code(), StatusCode::kBusy);
  EXPECT_EQ(device_.Close().code(), StatusCode::kBusy);
  EXPECT_EQ(harness_.arena->Stats().slots_in_io, 2u);
  EXPECT_EQ(harness_.engine->Step(1), 1u);
  EXPECT_TRUE(harness_.HasEnded(1));
  EXPECT_FALSE(harness_.HasEnded(2));
  EXPECT_EQ(harness_.arena->Stats().slots_in_io, 1u);
  EXPECT_EQ(harness_.engine->Step(1), 1u);
  EXPECT_EQ(harness_.Await(2), (std::vector<int32_t>{0}));
  EXPECT_TRUE(device_.UnregisterLayout(layout_).ok());
}

TEST_F(SteppedCpuDeviceTest, WhatHasNotStartedAtShutdownIsCancelledAndGivesItsSlotsBack) {
  const std::vector<SlotRef> slots = harness_.Slots(image_bytes_, 2);
  ASSERT_TRUE(device_.Gather(1, layout_, harness_.arena, slots.data(), 2, {1, 2, 3, 4}).ok());
  harness_.engine->Shutdown();
  EXPECT_EQ(harness_.Await(1), (std::vector<int32_t>{item_status::kCancelled, item_status::kCancelled}));
  EXPECT_EQ(harness_.arena->Stats().slots_in_io, 0u);
  uint32_t crc = 0;
  EXPECT_FALSE(harness_.arena->GetChecksum(slots[0].index, &crc));
  EXPECT_EQ(device_.InFlight(), 0u);
  EXPECT_EQ(device_.Gather(2, layout_, harness_.arena, slots.data(), 1, {1, 2}).code(), StatusCode::kClosed);
}

}  // namespace
}  // namespace kvferry
