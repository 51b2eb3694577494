// Random paged layouts that are right by construction: the five dimensions nested in a random order with random padding, and
// layers or planes sometimes lifted out of the strides into pointers of their own, so that pointers interleave as those of
// shared pools do. Also the reference they are compared with: one element after the other, straight from the formula.
#ifndef KVFERRY_TEST_NATIVE_RANDOM_LAYOUT_H_
#define KVFERRY_TEST_NATIVE_RANDOM_LAYOUT_H_

#include <algorithm>
#include <cstring>
#include <vector>

#include "kv_layout.h"
#include "test_random.h"

namespace kvferry {

struct RandomLayout {
  KvLayoutSpec spec;
  std::vector<uint8_t> memory;
};

/// Sizes of the shape, kept small: the reference copies byte by byte.
inline RandomLayout MakeRandomLayout(TestRandom& random) {
  RandomLayout made;
  KvLayoutSpec& spec = made.spec;
  spec.layers = 1 + random.Below(4);
  spec.planes = 1 + random.Below(2);
  spec.heads = 1 + random.Below(5);
  constexpr uint64_t kHeadBytes[] = {1, 2, 3, 16, 64, 128, 132, 256, 512, 3000};
  spec.head_bytes = kHeadBytes[random.Below(10)];
  spec.block_tokens = 1 + random.Below(5);
  spec.chunk_tokens = spec.block_tokens * (1 + random.Below(4));
  spec.block_count = 1 + random.Below(7);

  struct Dimension {
    uint32_t count;
    uint64_t* stride;
  };
  std::vector<Dimension> order = {{spec.heads, &spec.head_stride}, {spec.block_tokens, &spec.token_stride}, {spec.block_count, &spec.block_stride},
                                  {spec.planes, &spec.plane_stride}, {spec.layers, &spec.layer_stride}};
  // Half of them the engines' way round (heads inside tokens inside blocks), the others any way round.
  if (random.OneIn(2)) {
    for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random.Below(static_cast<uint32_t>(i + 1))]);
  }
  uint64_t span = spec.head_bytes;
  const bool padded = random.OneIn(2);
  for (const Dimension& dimension : order) {
    *dimension.stride = span + (padded && random.OneIn(3) ? random.Below(70) : 0);
    span = *dimension.stride * (dimension.count - 1) + span;
  }
  const uint64_t lead = random.Below(50);
  made.memory.resize(lead + span);
  for (uint8_t& byte : made.memory) byte = static_cast<uint8_t>(random.Next());

  const uint64_t base = reinterpret_cast<uintptr_t>(made.memory.data()) + lead;
  const uint64_t end = base + span;
  spec.pointer_mode = static_cast<PointerMode>(random.Below(3));
  const uint32_t lifted_planes = spec.pointer_mode == PointerMode::kByPlaneAndLayer ? spec.planes : 1;
  const uint32_t lifted_layers = spec.pointer_mode == PointerMode::kOne ? 1 : spec.layers;
  for (uint32_t plane = 0; plane < lifted_planes; ++plane) {
    for (uint32_t layer = 0; layer < lifted_layers; ++layer) {
      const uint64_t address = base + plane * spec.plane_stride + layer * spec.layer_stride;
      spec.pointers.push_back({address, end - address});
    }
  }
  if (spec.pointer_mode != PointerMode::kOne) spec.layer_stride = 0;
  if (spec.pointer_mode == PointerMode::kByPlaneAndLayer) spec.plane_stride = 0;
  return made;
}

/// The formula at the top of kv_layout.h, and nothing else.
inline uint8_t* ElementAddress(const KvLayoutSpec& spec, uint32_t plane, uint32_t layer, uint32_t block, uint32_t token, uint32_t head) {
  size_t pointer = 0;
  if (spec.pointer_mode == PointerMode::kByLayer) pointer = layer;
  if (spec.pointer_mode == PointerMode::kByPlaneAndLayer) pointer = size_t{plane} * spec.layers + layer;
  return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(spec.pointers[pointer].address + block * spec.block_stride + plane * spec.plane_stride + layer * spec.layer_stride +
                                                           token * spec.token_stride + head * spec.head_stride));
}

/// Calls visit(element address or null for a null block, image offset, token of the chunk) for every element of one object.
template <class Visit>
void ForEachElement(const KvLayoutSpec& spec, const int32_t* block_ids, Visit&& visit) {
  uint64_t offset = 0;
  for (uint32_t plane = 0; plane < spec.planes; ++plane) {
    for (uint32_t layer = 0; layer < spec.layers; ++layer) {
      for (uint32_t token = 0; token < spec.chunk_tokens; ++token) {
        for (uint32_t head = 0; head < spec.heads; ++head, offset += spec.head_bytes) {
          const int32_t id = block_ids[token / spec.block_tokens];
          uint8_t* address = id < 0 ? nullptr : ElementAddress(spec, plane, layer, static_cast<uint32_t>(id), token % spec.block_tokens, head);
          visit(address, offset, token);
        }
      }
    }
  }
}

inline std::vector<uint8_t> ReferenceGather(const KvLayoutSpec& spec, const int32_t* block_ids) {
  std::vector<uint8_t> image(uint64_t{spec.planes} * spec.layers * spec.chunk_tokens * spec.heads * spec.head_bytes);
  ForEachElement(spec, block_ids, [&](const uint8_t* element, uint64_t offset, uint32_t) {
    if (element != nullptr) std::memcpy(image.data() + offset, element, spec.head_bytes);
  });
  return image;
}

inline void ReferenceScatter(const KvLayoutSpec& spec, const int32_t* block_ids, uint32_t skip_tokens, const std::vector<uint8_t>& image) {
  ForEachElement(spec, block_ids, [&](uint8_t* element, uint64_t offset, uint32_t token) {
    if (element != nullptr && token >= skip_tokens) std::memcpy(element, image.data() + offset, spec.head_bytes);
  });
}

/// Distinct ids where there are enough blocks (a scatter needs them distinct), some of them null.
inline std::vector<int32_t> RandomBlockIds(TestRandom& random, const KvLayoutSpec& spec, bool distinct) {
  const uint32_t blocks = spec.chunk_tokens / spec.block_tokens;
  std::vector<int32_t> all(spec.block_count);
  for (uint32_t i = 0; i < spec.block_count; ++i) all[i] = static_cast<int32_t>(i);
  if (!random.OneIn(3)) {
    for (size_t i = all.size() - 1; i > 0; --i) std::swap(all[i], all[random.Below(static_cast<uint32_t>(i + 1))]);
  }
  std::vector<int32_t> ids(blocks, -1);
  for (uint32_t i = 0; i < blocks; ++i) {
    if (random.OneIn(6)) continue;
    if (distinct) {
      if (i < all.size()) ids[i] = all[i];
    } else {
      ids[i] = static_cast<int32_t>(random.Below(spec.block_count));
    }
  }
  return ids;
}

}  // namespace kvferry

#endif  // KVFERRY_TEST_NATIVE_RANDOM_LAYOUT_H_
