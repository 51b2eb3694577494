#include "copy_bench.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <random>
#include <string>

#include "copy_plan.h"
#include "crc32c.h"
#include "memory_reservation.h"
#include "strided_copy.h"

namespace kvferry {
namespace {

template <class Work>
double Seconds(Work&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

uint8_t* Pointer(uint64_t address) { return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(address)); }

/// The same pieces by plain memcpy: what a copy plan without any thought would do.
void CopyPiecesPlainly(const KvLayout& layout, const int32_t* ids, uint8_t* image) {
  const KvLayoutSpec& spec = layout.spec();
  ForEachPiece(layout, ids, 0, AllTiles(layout), {}, [&](const CopyPiece& piece) {
    uint8_t* target = image + piece.image_offset;
    if (piece.tokens == 0) {
      std::memcpy(target, Pointer(piece.address), piece.bytes);
      return;
    }
    for (uint32_t token = 0; token < piece.tokens; ++token) {
      for (uint32_t head = 0; head < spec.heads; ++head, target += spec.head_bytes)
        std::memcpy(target, Pointer(piece.address + token * spec.token_stride + head * spec.head_stride), spec.head_bytes);
    }
  });
}

}  // namespace

Status RunCopyBench(const CopyBenchOptions& options, CopyBenchResult* result) {
  KvLayoutSpec spec;
  spec.layers = options.layers;
  spec.planes = 2;
  spec.heads = options.heads;
  spec.head_bytes = options.head_bytes;
  spec.block_tokens = options.block_tokens;
  spec.chunk_tokens = options.chunk_tokens;
  if (options.block_tokens == 0 || options.objects == 0 || options.rounds == 0) return Status::OutOfRange("blockTokens, objects and rounds must be positive");
  const uint32_t blocks_per_object = options.chunk_tokens / options.block_tokens;
  spec.block_count = options.objects * blocks_per_object;
  const uint64_t token_bytes = options.heads * options.head_bytes;
  spec.head_stride = options.head_major ? options.block_tokens * options.head_bytes : options.head_bytes;
  spec.token_stride = options.head_major ? options.head_bytes : token_bytes;
  const uint64_t tile_bytes = token_bytes * options.block_tokens;
  spec.plane_stride = tile_bytes;
  spec.block_stride = 2 * tile_bytes;
  const uint64_t layer_bytes = spec.block_count * spec.block_stride;
  const uint64_t total_bytes = layer_bytes * options.layers;

  MemoryReservation engine;
  MemoryReservation slots;
  for (MemoryReservation* memory : {&engine, &slots}) {
    if (Status status = memory->OpenPrivate((total_bytes + 4095) / 4096 * 4096, true); !status.ok()) return status;
  }
  std::mt19937_64 random(1);
  for (uint64_t at = 0; at < total_bytes; at += 8) {
    const uint64_t word = random();
    std::memcpy(engine.base() + at, &word, 8);
  }
  std::memset(slots.base(), 1, total_bytes);

  for (uint64_t layer = 0; layer < options.layers; ++layer) spec.pointers.push_back({reinterpret_cast<uintptr_t>(engine.base()) + layer * layer_bytes, layer_bytes});
  KvLayout layout;
  if (Status status = KvLayout::Compile(spec, &layout); !status.ok()) return status;
  result->object_bytes = layout.image_bytes();
  // Blocks in random order, so that no two pieces merge but by chance.
  std::vector<int32_t> ids(spec.block_count);
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), random);
  result->piece_bytes = layout.tile_is_run() ? layout.tile_bytes() : options.head_bytes;

  auto ids_of = [&](uint32_t object) { return ids.data() + size_t{object} * blocks_per_object; };
  auto slot_of = [&](uint32_t object) { return slots.base() + object * layout.image_bytes(); };
  std::vector<uint32_t> crcs(options.objects);
  std::vector<uint32_t> gathered(options.objects);
  bool equal = true;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    CopyBenchRound times;
    times.memcpy_whole = Seconds([&] {
      for (uint32_t object = 0; object < options.objects; ++object) std::memcpy(slot_of(object), engine.base() + object * layout.image_bytes(), layout.image_bytes());
    });
    times.memcpy_pieces = Seconds([&] {
      for (uint32_t object = 0; object < options.objects; ++object) CopyPiecesPlainly(layout, ids_of(object), slot_of(object));
    });
    times.crc32c = Seconds([&] {
      for (uint32_t object = 0; object < options.objects; ++object) crcs[object] = Crc32c(slot_of(object), layout.image_bytes());
    });
    times.gather = Seconds([&] {
      for (uint32_t object = 0; object < options.objects; ++object) gathered[object] = GatherTiles(layout, ids_of(object), AllTiles(layout), slot_of(object));
    });
    equal = equal && gathered == crcs;
    times.scatter = Seconds([&] {
      for (uint32_t object = 0; object < options.objects; ++object) ScatterTiles(layout, ids_of(object), 0, AllTiles(layout), slot_of(object));
    });
    result->rounds.push_back(times);
  }
  // What scatter brought back, gathered once more: the slots' bytes as they are now must be those that were measured.
  for (uint32_t object = 0; object < options.objects; ++object)
    equal = equal && GatherTiles(layout, ids_of(object), AllTiles(layout), slot_of(object)) == crcs[object] && Crc32c(slot_of(object), layout.image_bytes()) == crcs[object];
  result->equal = equal;
  return {};
}

}  // namespace kvferry
