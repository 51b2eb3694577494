// The copy plan against its definition: every layout, null blocks, skipped tokens, parts; and the checks that make a layout
// safe to copy with.
#include "copy_plan.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "crc32c.h"
#include "random_layout.h"
#include "strided_copy.h"

namespace kvferry {
namespace {

KvLayout Compiled(const KvLayoutSpec& spec) {
  KvLayout layout;
  const Status status = KvLayout::Compile(spec, &layout);
  EXPECT_TRUE(status.ok()) << status.message();
  return layout;
}

std::string Refusal(const KvLayoutSpec& spec) {
  KvLayout layout;
  const Status status = KvLayout::Compile(spec, &layout);
  EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
  return status.message();
}

/// A small FlashAttention layout: K and V planes of one tensor per layer, [2][blocks][tokens][heads][head].
KvLayoutSpec FlashAttention() {
  KvLayoutSpec spec;
  spec.layers = 3;
  spec.planes = 2;
  spec.heads = 4;
  spec.head_bytes = 256;
  spec.block_tokens = 16;
  spec.chunk_tokens = 64;
  spec.block_count = 10;
  spec.head_stride = 256;
  spec.token_stride = 4 * 256;
  spec.block_stride = 16 * 4 * 256;
  spec.plane_stride = 10 * spec.block_stride;
  const uint64_t layer_bytes = 2 * spec.plane_stride;
  for (uint64_t layer = 0; layer < 3; ++layer) spec.pointers.push_back({0x100000 + layer * layer_bytes, layer_bytes});
  return spec;
}

std::vector<CopyPiece> Pieces(const KvLayout& layout, const std::vector<int32_t>& ids, uint32_t skip = 0, CopyCapabilities capabilities = {}) {
  std::vector<CopyPiece> pieces;
  ForEachPiece(layout, ids.data(), skip, AllTiles(layout), capabilities, [&](const CopyPiece& piece) { pieces.push_back(piece); });
  return pieces;
}

TEST(CopyPlan, GatherEqualsTheFormulaForRandomLayouts) {
  TestRandom random;
  for (int round = 0; round < 1000; ++round) {
    const RandomLayout made = MakeRandomLayout(random);
    const KvLayout layout = Compiled(made.spec);
    const std::vector<int32_t> ids = RandomBlockIds(random, made.spec, false);
    const std::vector<uint8_t> wanted = ReferenceGather(made.spec, ids.data());
    std::vector<uint8_t> image(layout.image_bytes(), 0xee);
    const uint32_t crc = GatherTiles(layout, ids.data(), AllTiles(layout), image.data(), round % 2 == 0 ? ImageWrites::kStreamed : ImageWrites::kCached);
    ASSERT_EQ(image, wanted) << "round " << round;
    ASSERT_EQ(crc, Crc32c(wanted.data(), wanted.size())) << "round " << round;
  }
}

TEST(CopyPlan, PartsOfAnImageGatherAndCombineToTheWhole) {
  TestRandom random;
  for (int round = 0; round < 500; ++round) {
    const RandomLayout made = MakeRandomLayout(random);
    const KvLayout layout = Compiled(made.spec);
    const std::vector<int32_t> ids = RandomBlockIds(random, made.spec, false);
    const std::vector<uint8_t> wanted = ReferenceGather(made.spec, ids.data());
    std::vector<uint8_t> image(layout.image_bytes(), 0xee);
    uint32_t crc = 0;
    const uint64_t tiles = AllTiles(layout).end;
    for (uint64_t first = 0; first < tiles;) {
      const uint64_t end = first + 1 + random.Below(static_cast<uint32_t>(tiles - first));
      crc = Crc32cCombine(crc, GatherTiles(layout, ids.data(), {first, end}, image.data()), (end - first) * layout.tile_bytes());
      first = end;
    }
    ASSERT_EQ(image, wanted);
    ASSERT_EQ(crc, Crc32c(wanted.data(), wanted.size()));
  }
}

TEST(CopyPlan, ScatterEqualsTheFormulaAndTouchesNothingElse) {
  TestRandom random;
  for (int round = 0; round < 1000; ++round) {
    RandomLayout made = MakeRandomLayout(random);
    const KvLayout layout = Compiled(made.spec);
    const std::vector<int32_t> ids = RandomBlockIds(random, made.spec, true);
    const uint32_t skip = random.OneIn(2) ? 0 : random.Below(made.spec.chunk_tokens + 1);
    std::vector<uint8_t> image(layout.image_bytes());
    for (uint8_t& byte : image) byte = static_cast<uint8_t>(random.Next());
    const std::vector<uint8_t> before = made.memory;
    ReferenceScatter(made.spec, ids.data(), skip, image);
    const std::vector<uint8_t> wanted = made.memory;
    std::memcpy(made.memory.data(), before.data(), before.size());
    ScatterTiles(layout, ids.data(), skip, AllTiles(layout), image.data());
    ASSERT_EQ(made.memory, wanted) << "round " << round;
  }
}

TEST(CopyPlan, PiecesCoverTheImageOnceAndInOrder) {
  TestRandom random;
  for (int round = 0; round < 500; ++round) {
    const RandomLayout made = MakeRandomLayout(random);
    const KvLayout layout = Compiled(made.spec);
    CopyCapabilities capabilities;
    if (random.OneIn(2)) capabilities.max_run_bytes = 1 + random.Below(200);
    uint64_t next = 0;
    for (const CopyPiece& piece : Pieces(layout, RandomBlockIds(random, made.spec, false), 0, capabilities)) {
      ASSERT_EQ(piece.image_offset, next);
      ASSERT_GT(piece.bytes, 0u);
      ASSERT_LE(piece.tokens == 0 ? piece.bytes : 0, capabilities.max_run_bytes);
      next += piece.bytes;
    }
    ASSERT_EQ(next, layout.image_bytes());
  }
}

TEST(CopyPlan, BlocksThatFollowEachOtherBecomeOnePiece) {
  const KvLayout layout = Compiled(FlashAttention());
  EXPECT_EQ(Pieces(layout, {2, 3, 4, 5}).size(), 6u) << "one per plane and layer";
  EXPECT_EQ(Pieces(layout, {2, 3, 5, 6}).size(), 12u);
  EXPECT_EQ(Pieces(layout, {5, 4, 3, 2}).size(), 24u) << "backwards, nothing continues";
  EXPECT_EQ(Pieces(layout, {2, -1, -1, 5}).size(), 18u) << "null blocks merge with each other only";
}

TEST(CopyPlan, LayersThatFollowEachOtherBecomeOnePiece) {
  // MLA across layers with blocks as large as the chunk: a block is the image.
  KvLayoutSpec spec;
  spec.layers = 8;
  spec.planes = 1;
  spec.heads = 1;
  spec.head_bytes = 1152;
  spec.block_tokens = 64;
  spec.chunk_tokens = 64;
  spec.block_count = 4;
  spec.token_stride = 1152;
  spec.layer_stride = 64 * 1152;
  spec.block_stride = 8 * spec.layer_stride;
  spec.pointer_mode = PointerMode::kOne;
  spec.pointers = {{0x1000, 4 * spec.block_stride}};
  const KvLayout layout = Compiled(spec);
  const std::vector<CopyPiece> pieces = Pieces(layout, {3});
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].bytes, layout.image_bytes());
  EXPECT_EQ(pieces[0].address, 0x1000 + 3 * spec.block_stride);
}

TEST(CopyPlan, SkippedTokensCutTheFirstPieces) {
  const KvLayout layout = Compiled(FlashAttention());
  const uint64_t token = layout.token_bytes();
  std::vector<CopyPiece> pieces = Pieces(layout, {2, 3, 4, 5}, 20);
  ASSERT_EQ(pieces.size(), 6u);
  EXPECT_EQ(pieces[0].bytes, (64 - 20) * token);
  EXPECT_EQ(pieces[0].image_offset, 20 * token);
  EXPECT_EQ(pieces[0].address, layout.TileAddress(0, 2) + 20 * token);
  EXPECT_TRUE(Pieces(layout, {2, 3, 4, 5}, 64).empty());
}

TEST(CopyPlan, SummaryCountsRunsNotTiles) {
  KvLayoutSpec spec = FlashAttention();
  std::swap(spec.head_stride, spec.token_stride);
  spec.head_stride = 16 * 256;
  spec.token_stride = 256;
  const CopyPlanSummary heads_first = Summarise(Compiled(spec), std::vector<int32_t>{2, 3, -1, 5}.data(), 0, {});
  EXPECT_EQ(heads_first.pieces, 3u * 16 * 4 * 6);
  EXPECT_EQ(heads_first.largest_run, 256u);
  const CopyPlanSummary runs = Summarise(Compiled(FlashAttention()), std::vector<int32_t>{2, 3, -1, 5}.data(), 0, {});
  EXPECT_EQ(runs.pieces, 12u);
  EXPECT_EQ(runs.smallest_run, 16u * 1024);
  EXPECT_EQ(runs.largest_run, 32u * 1024);
  EXPECT_EQ(runs.bytes, 48u * 1024 * 6);
}

TEST(KvLayout, RefusesAndNamesTheField) {
  const KvLayoutSpec good = FlashAttention();
  auto with = [&](auto change) {
    KvLayoutSpec spec = good;
    change(spec);
    return Refusal(spec);
  };
  EXPECT_EQ(with([](auto& s) { s.layers = 0; }).rfind("layers is 0;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.layers = 1025; }).rfind("layers is 1025;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.planes = 3; }).rfind("planes is 3;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.heads = 0; }).rfind("heads is 0;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.head_bytes = 0; }).rfind("headBytes is 0;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.head_bytes = uint64_t{1} << 40; }).rfind("headBytes is", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.block_tokens = 0; }).rfind("blockTokens is 0;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.chunk_tokens = 65; }).rfind("chunkTokens is 65;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.chunk_tokens = 0; }).rfind("chunkTokens is 0;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.chunk_tokens = 16u << 20; }).rfind("chunkTokens is", 0), 0u) << "an image of more than 4 GiB";
  EXPECT_EQ(with([](auto& s) { s.block_count = 0; }).rfind("blockCount is 0;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.block_count = UINT32_MAX; }).rfind("blockCount is", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.head_stride = 255; }).rfind("headStride is 255: elements would overlap", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.token_stride = 1000; }).rfind("tokenStride is 1000: elements would overlap", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.block_stride -= 1; }).rfind("blockStride is 16383: elements would overlap", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.plane_stride -= 1; }).rfind("planeStride is 163839: elements would overlap", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.plane_stride = 0; }).rfind("planeStride is 0: elements would overlap", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.pointers.pop_back(); }).rfind("regionIds has 2 entries;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.pointer_mode = static_cast<PointerMode>(3); }).rfind("pointerMode is 3;", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.pointers[2].bytes -= 1; }).rfind("regionOffsets[2]: plane 0 of layer 2 reaches byte", 0), 0u);
  EXPECT_EQ(with([](auto& s) { s.pointers[1].address = s.pointers[0].address; }).rfind("regionOffsets[1]: elements overlap those of regionOffsets[0]", 0), 0u);
}

TEST(KvLayout, StridesThatOverflow64BitsAreRefused) {
  KvLayoutSpec spec = FlashAttention();
  spec.block_stride = UINT64_MAX / 2;
  EXPECT_NE(Refusal(spec), "");
  spec = FlashAttention();
  spec.plane_stride = UINT64_MAX;
  EXPECT_NE(Refusal(spec), "");
  spec = FlashAttention();
  spec.block_count = INT32_MAX;
  spec.block_stride = (uint64_t{1} << 40) + 7;
  EXPECT_NE(Refusal(spec).find("more than 2^64"), std::string::npos);
}

// What no check may miss: with any strides whatever, an accepted layout has all its bytes apart and inside.
TEST(KvLayout, AnAcceptedLayoutNeverOverlapsOrLeavesItsRegion) {
  TestRandom random;
  int accepted = 0;
  int overlapping = 0;
  for (int round = 0; round < 60000; ++round) {
    KvLayoutSpec spec;
    spec.layers = 1 + random.Below(3);
    spec.planes = 1 + random.Below(2);
    spec.heads = 1 + random.Below(3);
    spec.head_bytes = 1 + random.Below(4);
    spec.block_tokens = 1 + random.Below(3);
    spec.chunk_tokens = spec.block_tokens;
    spec.block_count = 1 + random.Below(3);
    spec.head_stride = random.Below(2) ? spec.head_bytes : random.Below(24);
    spec.token_stride = random.Below(2) ? spec.head_bytes * spec.heads : random.Below(40);
    spec.block_stride = random.Below(100);
    spec.plane_stride = random.Below(100);
    spec.layer_stride = random.Below(60);
    spec.pointer_mode = static_cast<PointerMode>(random.Below(3));
    const uint32_t pointers = spec.pointer_mode == PointerMode::kOne ? 1 : spec.pointer_mode == PointerMode::kByLayer ? spec.layers : spec.layers * spec.planes;
    constexpr uint64_t kRegion = 400;
    for (uint32_t i = 0; i < pointers; ++i) {
      const uint64_t offset = random.Below(200);
      spec.pointers.push_back({offset, kRegion - offset});
    }
    bool inside = true;
    bool apart = true;
    std::vector<bool> used(4096);
    for (uint32_t block = 0; block < spec.block_count; ++block) {
      const int32_t id = static_cast<int32_t>(block);
      ForEachElement(spec, &id, [&](const uint8_t* element, uint64_t, uint32_t) {
        // A pointer of 0 and element 0 is an address of 0, which is no null block here.
        const uint64_t at = reinterpret_cast<uintptr_t>(element);
        for (uint64_t byte = at; byte < at + spec.head_bytes; ++byte) {
          if (byte >= kRegion) inside = false;
          if (used[byte]) apart = false;
          used[byte] = true;
        }
      });
    }
    KvLayout layout;
    const bool taken = KvLayout::Compile(spec, &layout).ok();
    ASSERT_TRUE(!taken || (inside && apart)) << "round " << round;
    accepted += taken;
    overlapping += !apart;
  }
  EXPECT_GT(accepted, 300);
  EXPECT_GT(overlapping, 3000);
}

TEST(KvLayout, BlockIdsAreChecked) {
  const KvLayout layout = Compiled(FlashAttention());
  const std::vector<int32_t> good = {0, 9, -1, 3};
  EXPECT_TRUE(layout.CheckBlockIds(good.data(), good.size()).ok());
  for (int32_t bad : {10, -2, INT32_MAX, INT32_MIN}) {
    const std::vector<int32_t> ids = {0, bad};
    const Status status = layout.CheckBlockIds(ids.data(), ids.size());
    EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
    EXPECT_EQ(status.message(), "blockIds[1] is " + std::to_string(bad) + "; allowed are 0 to 9, or -1 for a null block");
  }
}

}  // namespace
}  // namespace kvferry
