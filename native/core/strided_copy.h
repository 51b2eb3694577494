// StridedCopy: carries out a copy plan on the host, between paged KV memory and an image in a slot.
//
// Gather takes the checksum of the image on the way, in the order of the image, while each piece is in the cache; memory is
// read once. The target of runs is written past the cache (memory_copy.h): a slot is read next by a disk, a network card or
// much later, never at once. Only a memory so small that all of it stays in the cache is better written there.
//
// Thread safety: any thread; several threads may work on parts of one image.
#ifndef KVFERRY_CORE_STRIDED_COPY_H_
#define KVFERRY_CORE_STRIDED_COPY_H_

#include <cstdint>

#include "copy_plan.h"

namespace kvferry {

enum class ImageWrites { kStreamed, kCached };

/// Gathers the tiles into their places in `image` and returns the crc32c of that part of the image. The addresses of the
/// layout must be host memory.
uint32_t GatherTiles(const KvLayout& layout, const int32_t* block_ids, TileRange tiles, uint8_t* image, ImageWrites writes = ImageWrites::kStreamed) noexcept;

/// Scatters the tiles of `image`; null blocks and the first `skip_tokens` tokens are left alone.
void ScatterTiles(const KvLayout& layout, const int32_t* block_ids, uint32_t skip_tokens, TileRange tiles, const uint8_t* image) noexcept;

}  // namespace kvferry

#endif  // KVFERRY_CORE_STRIDED_COPY_H_
