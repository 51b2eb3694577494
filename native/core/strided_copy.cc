#include "strided_copy.h"

#include <algorithm>
#include <cstring>

#include "crc32c.h"
#include "memory_copy.h"

namespace kvferry {
namespace {

// Where the tokens of strided tiles are put together before they are streamed out; stays in the first-level cache.
constexpr size_t kStagingBytes = 16 * 1024;

// Shorter runs go through the cache: streaming writes whole lines, and a run of few lines has two ragged ends.
constexpr size_t kStreamRunBytes = 2048;

uint8_t* HostPointer(uint64_t address) { return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(address)); }

/// memcpy of a size known to the compiler: for one head a call would cost more than the copy.
template <size_t kBytes>
struct FixedCopy {
  static void Copy(uint8_t* target, const uint8_t* source, size_t) noexcept { std::memcpy(target, source, kBytes); }
};
struct AnyCopy {
  static void Copy(uint8_t* target, const uint8_t* source, size_t bytes) noexcept { std::memcpy(target, source, bytes); }
};

/// Tokens x heads of a tile, packed in token order on one side and strided on the other.
struct TileShape {
  uint8_t* strided;
  uint64_t token_stride;
  uint64_t head_stride;
  uint32_t tokens;
  uint32_t heads;
  uint64_t head_bytes;
};

template <class Copier>
void Pack(const TileShape& tile, uint8_t* packed) noexcept {
  for (uint32_t token = 0; token < tile.tokens; ++token) {
    const uint8_t* from = tile.strided + token * tile.token_stride;
    for (uint32_t head = 0; head < tile.heads; ++head, packed += tile.head_bytes, from += tile.head_stride) Copier::Copy(packed, from, tile.head_bytes);
  }
}

template <class Copier>
void Unpack(const TileShape& tile, const uint8_t* packed) noexcept {
  for (uint32_t token = 0; token < tile.tokens; ++token) {
    uint8_t* to = tile.strided + token * tile.token_stride;
    for (uint32_t head = 0; head < tile.heads; ++head, packed += tile.head_bytes, to += tile.head_stride) Copier::Copy(to, packed, tile.head_bytes);
  }
}

struct Packer {
  void (*pack)(const TileShape& tile, uint8_t* packed) noexcept;
  void (*unpack)(const TileShape& tile, const uint8_t* packed) noexcept;
};

template <class Copier>
constexpr Packer kPacker = {Pack<Copier>, Unpack<Copier>};

const Packer& PackerFor(uint64_t head_bytes) {
  switch (head_bytes) {
    case 64: return kPacker<FixedCopy<64>>;
    case 128: return kPacker<FixedCopy<128>>;
    case 256: return kPacker<FixedCopy<256>>;
    case 512: return kPacker<FixedCopy<512>>;
    default: return kPacker<AnyCopy>;
  }
}

/// A layout whose tokens are runs is packed a whole token at a time.
TileShape ShapeOf(const KvLayout& layout) {
  const KvLayoutSpec& spec = layout.spec();
  if (layout.token_is_run()) return {nullptr, spec.token_stride, 0, 0, 1, layout.token_bytes()};
  return {nullptr, spec.token_stride, spec.head_stride, 0, spec.heads, spec.head_bytes};
}

uint32_t GatherRun(uint8_t* target, const uint8_t* source, uint64_t bytes, ImageWrites writes, uint32_t crc) noexcept {
  if (writes == ImageWrites::kCached) return CacheBytesCrc32c(target, source, bytes, crc);
  if (bytes >= kStreamRunBytes) return StreamBytesCrc32c(target, source, bytes, crc);
  crc = Crc32cExtend(crc, source, bytes);
  std::memcpy(target, source, bytes);
  return crc;
}

uint32_t GatherZeros(uint8_t* target, uint64_t bytes, ImageWrites writes, uint32_t crc) noexcept {
  alignas(64) static constexpr uint8_t kZeros[kStagingBytes] = {};
  while (bytes > 0) {
    const uint64_t part = std::min<uint64_t>(bytes, kStagingBytes);
    crc = GatherRun(target, kZeros, part, writes, crc);
    target += part;
    bytes -= part;
  }
  return crc;
}

}  // namespace

uint32_t GatherTiles(const KvLayout& layout, const int32_t* block_ids, TileRange tiles, uint8_t* image, ImageWrites writes) noexcept {
  alignas(64) uint8_t staging[kStagingBytes];
  const uint64_t token_bytes = layout.token_bytes();
  TileShape tile = ShapeOf(layout);
  const Packer& packer = PackerFor(tile.head_bytes);
  uint32_t crc = 0;
  ForEachPiece(layout, block_ids, 0, tiles, CopyCapabilities{}, [&](const CopyPiece& piece) {
    uint8_t* target = image + piece.image_offset;
    if (piece.null) {
      crc = GatherZeros(target, piece.bytes, writes, crc);
      return;
    }
    if (piece.tokens == 0) {
      crc = GatherRun(target, HostPointer(piece.address), piece.bytes, writes, crc);
      return;
    }
    const uint32_t tokens_at_once = static_cast<uint32_t>(std::max<uint64_t>(1, kStagingBytes / token_bytes));
    for (uint32_t token = 0; token < piece.tokens; token += tile.tokens) {
      tile.tokens = std::min(tokens_at_once, piece.tokens - token);
      tile.strided = HostPointer(piece.address) + token * tile.token_stride;
      const uint64_t bytes = tile.tokens * token_bytes;
      if (bytes <= kStagingBytes) {
        packer.pack(tile, staging);
        crc = GatherRun(target, staging, bytes, writes, crc);
      } else {
        // One token is larger than the staging memory.
        packer.pack(tile, target);
        crc = Crc32cExtend(crc, target, bytes);
      }
      target += bytes;
    }
  });
  StreamFence();
  return crc;
}

void ScatterTiles(const KvLayout& layout, const int32_t* block_ids, uint32_t skip_tokens, TileRange tiles, const uint8_t* image) noexcept {
  TileShape tile = ShapeOf(layout);
  const Packer& packer = PackerFor(tile.head_bytes);
  ForEachPiece(layout, block_ids, skip_tokens, tiles, CopyCapabilities{}, [&](const CopyPiece& piece) {
    if (piece.null) return;
    const uint8_t* source = image + piece.image_offset;
    tile.strided = HostPointer(piece.address);
    if (piece.tokens > 0) {
      tile.tokens = piece.tokens;
      packer.unpack(tile, source);
    } else if (piece.bytes >= kStreamRunBytes) {
      StreamBytes(tile.strided, source, piece.bytes);
    } else {
      std::memcpy(tile.strided, source, piece.bytes);
    }
  });
  StreamFence();
}

}  // namespace kvferry
