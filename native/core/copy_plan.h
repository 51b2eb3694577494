// Copy plan: from (layout, block ids, part of an image, capabilities of a device) to the pieces to be moved. Pure: nothing is
// allocated, nothing is copied and no device is known, so the same plan drives the CPU device and CUDA.
//
// Pieces come in the order of the image, without gaps but for what is skipped, and each is contiguous in the image. On the
// engine's side a piece is one run when the layout's blocks are runs (KvLayout::tile_is_run); neighbours that continue each
// other on both sides are merged, across blocks and across layers. Else a piece is the tile of one block and row (or what the
// skipped tokens leave of it), whose rows lie token_stride and head_stride apart.
//
// Thread safety: functions of their arguments.
#ifndef KVFERRY_CORE_COPY_PLAN_H_
#define KVFERRY_CORE_COPY_PLAN_H_

#include <algorithm>
#include <cstdint>

#include "kv_layout.h"

namespace kvferry {

/// What a device can do in one copy.
struct CopyCapabilities {
  /// Runs longer than this are cut. DMA engines must not cross a registered range; the CPU keeps pieces in cache.
  uint64_t max_run_bytes = UINT64_MAX;
};

/// Block id of a block that holds nothing: gathered as zeros, skipped by scatter.
constexpr int32_t kNullBlock = -1;

struct CopyPiece {
  /// First byte on the engine's side; meaningless for a null piece.
  uint64_t address;
  uint64_t image_offset;
  uint64_t bytes;
  /// Tokens of a tile; 0 when the piece is one run (or null).
  uint32_t tokens;
  bool null;
};

/// Part of an image, in tiles: tile t is block t % blocks_per_object of row t / blocks_per_object.
struct TileRange {
  uint64_t first;
  uint64_t end;
};

inline TileRange AllTiles(const KvLayout& layout) { return {0, uint64_t{layout.row_count()} * layout.blocks_per_object()}; }

/// Calls `each(const CopyPiece&)` for the pieces of one object. `block_ids` has blocks_per_object entries, checked by
/// KvLayout::CheckBlockIds. The first `skip_tokens` tokens of every row are left out.
template <class Each>
void ForEachPiece(const KvLayout& layout, const int32_t* block_ids, uint32_t skip_tokens, TileRange tiles, const CopyCapabilities& capabilities, Each&& each) {
  const KvLayoutSpec& spec = layout.spec();
  const uint32_t blocks = layout.blocks_per_object();
  const uint64_t token_bytes = layout.token_bytes();
  const bool runs = layout.tile_is_run();

  CopyPiece pending{0, 0, 0, 0, false};
  auto flush = [&] {
    while (pending.bytes > 0) {
      CopyPiece piece = pending;
      if (piece.tokens == 0) piece.bytes = std::min(piece.bytes, capabilities.max_run_bytes);
      each(static_cast<const CopyPiece&>(piece));
      pending.address += piece.bytes;
      pending.image_offset += piece.bytes;
      pending.bytes -= piece.bytes;
    }
  };

  uint32_t row = static_cast<uint32_t>(tiles.first / blocks);
  uint32_t block = static_cast<uint32_t>(tiles.first % blocks);
  for (uint64_t tile = tiles.first; tile < tiles.end; ++tile) {
    const uint64_t first_token = uint64_t{block} * spec.block_tokens;
    const uint32_t skipped = skip_tokens <= first_token ? 0 : static_cast<uint32_t>(std::min<uint64_t>(skip_tokens - first_token, spec.block_tokens));
    if (skipped < spec.block_tokens) {
      const int32_t id = block_ids[block];
      const uint32_t tokens = spec.block_tokens - skipped;
      CopyPiece piece;
      piece.null = id == kNullBlock;
      piece.address = piece.null ? 0 : layout.TileAddress(row, static_cast<uint32_t>(id)) + skipped * spec.token_stride;
      piece.image_offset = row * layout.row_bytes() + (first_token + skipped) * token_bytes;
      piece.bytes = tokens * token_bytes;
      piece.tokens = runs || piece.null ? 0 : tokens;
      const bool continues = pending.bytes > 0 && pending.tokens == 0 && piece.tokens == 0 && pending.null == piece.null &&
                             pending.image_offset + pending.bytes == piece.image_offset && (piece.null || pending.address + pending.bytes == piece.address);
      if (continues) {
        pending.bytes += piece.bytes;
      } else {
        flush();
        pending = piece;
      }
    }
    if (++block == blocks) {
      block = 0;
      ++row;
    }
  }
  flush();
}

/// What a plan amounts to: what a device needs to choose between one copy per piece and a kernel.
struct CopyPlanSummary {
  uint64_t pieces = 0;
  uint64_t bytes = 0;
  uint64_t smallest_run = 0;
  uint64_t largest_run = 0;
};

/// Runs are counted, not tiles: a tile of a head-major layout is tokens x heads runs.
CopyPlanSummary Summarise(const KvLayout& layout, const int32_t* block_ids, uint32_t skip_tokens, const CopyCapabilities& capabilities);

}  // namespace kvferry

#endif  // KVFERRY_CORE_COPY_PLAN_H_
