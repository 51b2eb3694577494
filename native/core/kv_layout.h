// KvLayout: how an engine lays its paged KV cache out in memory, as one runtime-strided descriptor, checked and compiled.
//
// Every layout that engines use (docs/architecture.md has the table) is
//     address(block, plane, layer, token, head) =
//         pointers[p(plane, layer)] + block*block_stride + plane*plane_stride + layer*layer_stride
//                                   + token*token_stride + head*head_stride
// where head_bytes bytes from there on are contiguous. The block stride is independent of the shape: engines pad blocks and
// put other groups' bytes between them. Nothing here touches memory or knows a device: pointers are numbers.
//
// The image of an object is always [plane][layer][token][head x head_bytes], token-major, whatever the engine does, so an
// object written by one engine can be read by another.
//
// Thread safety: a KvLayout is immutable once compiled.
#ifndef KVFERRY_CORE_KV_LAYOUT_H_
#define KVFERRY_CORE_KV_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "status.h"

namespace kvferry {

/// Which pointer a (plane, layer) uses.
enum class PointerMode : uint32_t {
  kOne = 0,
  kByLayer = 1,
  kByPlaneAndLayer = 2,
};

/// Memory from block 0 of one pointer to the end of the region that holds it.
struct KvPointer {
  uint64_t address = 0;
  uint64_t bytes = 0;
};

/// As a caller describes it; strides in bytes.
struct KvLayoutSpec {
  std::vector<KvPointer> pointers;
  uint32_t layers = 0;
  uint32_t planes = 0;
  uint32_t heads = 0;
  uint64_t head_bytes = 0;
  uint32_t block_tokens = 0;
  uint32_t chunk_tokens = 0;
  uint32_t block_count = 0;
  uint64_t block_stride = 0;
  uint64_t plane_stride = 0;
  uint64_t layer_stride = 0;
  uint64_t token_stride = 0;
  uint64_t head_stride = 0;
  PointerMode pointer_mode = PointerMode::kByLayer;
};

/// Checked: every address that the layout can form lies in its pointer's memory, no two elements overlap, and the image of an
/// object fits into 32 bits.
class KvLayout {
 public:
  static constexpr uint32_t kMaxLayers = 1024;
  static constexpr uint32_t kMaxPlanes = 2;

  /// OutOfRange with the field in the words of KvLayoutDescription (src/native/binding.ts) when the spec breaks a rule.
  static Status Compile(const KvLayoutSpec& spec, KvLayout* layout);

  const KvLayoutSpec& spec() const noexcept { return spec_; }
  uint32_t blocks_per_object() const noexcept { return spec_.chunk_tokens / spec_.block_tokens; }
  /// Rows are the (plane, layer) pairs in image order.
  uint32_t row_count() const noexcept { return spec_.planes * spec_.layers; }
  /// Bytes of one token in one row of the image.
  uint64_t token_bytes() const noexcept { return spec_.heads * spec_.head_bytes; }
  uint64_t tile_bytes() const noexcept { return token_bytes() * spec_.block_tokens; }
  uint64_t row_bytes() const noexcept { return token_bytes() * spec_.chunk_tokens; }
  uint64_t image_bytes() const noexcept { return row_bytes() * row_count(); }

  /// The heads of a token lie together, as in the image.
  bool token_is_run() const noexcept { return token_is_run_; }
  /// All of a block's tokens of one row lie together, as in the image.
  bool tile_is_run() const noexcept { return tile_is_run_; }

  /// Address of element (block, row, token 0, head 0).
  uint64_t TileAddress(uint32_t row, uint32_t block) const noexcept { return row_addresses_[row] + uint64_t{block} * spec_.block_stride; }

  /// Block ids must be in [0, block_count) or -1 (null block). OutOfRange naming the first bad one.
  Status CheckBlockIds(const int32_t* ids, uint64_t count) const;

 private:
  KvLayoutSpec spec_;
  std::vector<uint64_t> row_addresses_;
  bool token_is_run_ = false;
  bool tile_is_run_ = false;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_KV_LAYOUT_H_
