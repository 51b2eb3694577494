#include "kv_layout.h"

#include <algorithm>
#include <numeric>

namespace kvferry {
namespace {

// Strides and counts are below 2^64 and 2^32: products and their sums fit.
__extension__ typedef unsigned __int128 Wide;
__extension__ typedef __int128 SignedWide;

std::string Text(Wide value) {
  if (value > UINT64_MAX) return "more than 2^64";
  return std::to_string(static_cast<uint64_t>(value));
}

struct Dimension {
  const char* field;
  uint64_t count;
  uint64_t stride;
};

/// The elements under one pointer: the dimensions that have more than one value, the smallest stride first, so that each stride
/// spans everything inside it.
struct Lattice {
  std::vector<Dimension> dimensions;
  /// spans[i] = bytes from the first to the end of the last element when only the first i dimensions vary.
  std::vector<Wide> spans;
};

Status CheckCounts(const KvLayoutSpec& spec) {
  auto range = [](const char* field, uint64_t got, uint64_t least, uint64_t most) {
    return Status::OutOfRange(std::string(field) + " is " + std::to_string(got) + "; allowed are " + std::to_string(least) + " to " + std::to_string(most));
  };
  if (spec.layers < 1 || spec.layers > KvLayout::kMaxLayers) return range("layers", spec.layers, 1, KvLayout::kMaxLayers);
  if (spec.planes < 1 || spec.planes > KvLayout::kMaxPlanes) return range("planes", spec.planes, 1, KvLayout::kMaxPlanes);
  if (spec.heads < 1) return range("heads", spec.heads, 1, UINT32_MAX);
  if (spec.head_bytes < 1 || spec.head_bytes > UINT32_MAX) return range("headBytes", spec.head_bytes, 1, UINT32_MAX);
  if (spec.block_tokens < 1) return range("blockTokens", spec.block_tokens, 1, UINT32_MAX);
  if (spec.block_count < 1 || spec.block_count > INT32_MAX) return range("blockCount", spec.block_count, 1, INT32_MAX);
  if (spec.chunk_tokens < 1 || spec.chunk_tokens % spec.block_tokens != 0)
    return Status::OutOfRange("chunkTokens is " + std::to_string(spec.chunk_tokens) + "; it must be a positive multiple of blockTokens, " + std::to_string(spec.block_tokens));
  // At most 2^11 rows of 2^32 tokens of 2^64 bytes.
  const Wide image = Wide{spec.layers} * spec.planes * spec.chunk_tokens * spec.heads * spec.head_bytes;
  if (image > UINT32_MAX)
    return Status::OutOfRange("chunkTokens is " + std::to_string(spec.chunk_tokens) + ": one object would take " + Text(image) + " bytes; at most 4294967295 are allowed");
  return {};
}

Status CheckPointers(const KvLayoutSpec& spec) {
  size_t wanted = 0;
  switch (spec.pointer_mode) {
    case PointerMode::kOne: wanted = 1; break;
    case PointerMode::kByLayer: wanted = spec.layers; break;
    case PointerMode::kByPlaneAndLayer: wanted = size_t{spec.planes} * spec.layers; break;
    default: return Status::OutOfRange("pointerMode is " + std::to_string(static_cast<uint32_t>(spec.pointer_mode)) + "; allowed are 0 (one pointer), 1 (by layer), 2 (by plane and layer)");
  }
  if (spec.pointers.size() != wanted)
    return Status::OutOfRange("regionIds has " + std::to_string(spec.pointers.size()) + " entries; pointerMode " + std::to_string(static_cast<uint32_t>(spec.pointer_mode)) +
                              " with " + std::to_string(spec.planes) + " planes and " + std::to_string(spec.layers) + " layers needs " + std::to_string(wanted));
  return {};
}

/// Nested strides are what keeps elements apart. Strides that interleave two dimensions and yet never collide exist, but no
/// engine uses them, and they are refused rather than searched for.
Status MakeLattice(const KvLayoutSpec& spec, Lattice* lattice) {
  std::vector<Dimension> dimensions = {
      {"headStride", spec.heads, spec.head_stride},
      {"tokenStride", spec.block_tokens, spec.token_stride},
      {"blockStride", spec.block_count, spec.block_stride},
  };
  if (spec.pointer_mode != PointerMode::kByPlaneAndLayer) dimensions.push_back({"planeStride", spec.planes, spec.plane_stride});
  if (spec.pointer_mode == PointerMode::kOne) dimensions.push_back({"layerStride", spec.layers, spec.layer_stride});
  dimensions.erase(std::remove_if(dimensions.begin(), dimensions.end(), [](const Dimension& d) { return d.count == 1; }), dimensions.end());
  std::stable_sort(dimensions.begin(), dimensions.end(), [](const Dimension& a, const Dimension& b) { return a.stride < b.stride; });

  lattice->spans = {Wide{spec.head_bytes}};
  for (const Dimension& dimension : dimensions) {
    const Wide inner = lattice->spans.back();
    if (dimension.stride < inner)
      return Status::OutOfRange(std::string(dimension.field) + " is " + std::to_string(dimension.stride) + ": elements would overlap; at least " + Text(inner) +
                                " bytes lie inside one step of it");
    lattice->spans.push_back(inner + Wide{dimension.count - 1} * dimension.stride);
  }
  lattice->dimensions = std::move(dimensions);
  return {};
}

/// Whether some element of a lattice and some element of a copy of it, `delta` bytes further on, share a byte. Exact: since
/// strides are nested, at most two steps of each dimension can bring the rest into reach.
bool CopiesCollide(const Lattice& lattice, size_t depth, SignedWide delta) {
  const SignedWide reach = static_cast<SignedWide>(lattice.spans[depth]);
  if (delta >= reach || delta <= -reach) return false;
  if (depth == 0) return true;
  const Dimension& dimension = lattice.dimensions[depth - 1];
  const SignedWide inner = static_cast<SignedWide>(lattice.spans[depth - 1]);
  const SignedWide stride = dimension.stride;
  const SignedWide most = static_cast<SignedWide>(dimension.count) - 1;
  // Smallest step d with delta - d*stride < inner.
  const SignedWide numerator = delta - inner;
  SignedWide step = numerator >= 0 ? numerator / stride + 1 : -((-numerator - 1) / stride);
  for (step = std::max(step, -most); step <= most && delta - step * stride > -inner; ++step) {
    if (CopiesCollide(lattice, depth - 1, delta - step * stride)) return true;
  }
  return false;
}

std::string PointerName(size_t index) { return "regionOffsets[" + std::to_string(index) + "]"; }

}  // namespace

Status KvLayout::Compile(const KvLayoutSpec& spec, KvLayout* layout) {
  Status status = CheckCounts(spec);
  if (status.ok()) status = CheckPointers(spec);
  Lattice lattice;
  if (status.ok()) status = MakeLattice(spec, &lattice);
  if (!status.ok()) return status;

  // The part of a (plane, layer)'s address that the lattice does not vary.
  struct Base {
    Wide address;
    size_t pointer;
  };
  std::vector<Base> bases;
  std::vector<uint64_t> rows;
  for (uint32_t plane = 0; plane < spec.planes; ++plane) {
    for (uint32_t layer = 0; layer < spec.layers; ++layer) {
      size_t pointer = 0;
      Wide fixed = 0;
      Wide varied = 0;
      const Wide plane_offset = Wide{plane} * spec.plane_stride;
      const Wide layer_offset = Wide{layer} * spec.layer_stride;
      switch (spec.pointer_mode) {
        case PointerMode::kOne: varied = plane_offset + layer_offset; break;
        case PointerMode::kByLayer:
          pointer = layer;
          fixed = layer_offset;
          varied = plane_offset;
          break;
        case PointerMode::kByPlaneAndLayer:
          pointer = size_t{plane} * spec.layers + layer;
          fixed = plane_offset + layer_offset;
          break;
      }
      const KvPointer& memory = spec.pointers[pointer];
      const Wide end = fixed + lattice.spans.back();
      if (end > memory.bytes)
        return Status::OutOfRange(PointerName(pointer) + ": plane " + std::to_string(plane) + " of layer " + std::to_string(layer) + " reaches byte " + Text(end) +
                                  " from block 0, but the region ends after " + std::to_string(memory.bytes));
      rows.push_back(static_cast<uint64_t>(memory.address + fixed + varied));
      if (varied == 0) bases.push_back({memory.address + fixed, pointer});
    }
  }

  // Pointers may interleave (layers of a shared pool do) but not collide.
  std::sort(bases.begin(), bases.end(), [](const Base& a, const Base& b) { return a.address < b.address; });
  for (size_t i = 0; i < bases.size(); ++i) {
    for (size_t j = i + 1; j < bases.size() && bases[j].address < bases[i].address + lattice.spans.back(); ++j) {
      if (CopiesCollide(lattice, lattice.dimensions.size(), static_cast<SignedWide>(bases[j].address - bases[i].address)))
        return Status::OutOfRange(PointerName(bases[j].pointer) + ": elements overlap those of " + PointerName(bases[i].pointer));
    }
  }

  layout->spec_ = spec;
  layout->row_addresses_ = std::move(rows);
  layout->token_is_run_ = spec.heads == 1 || spec.head_stride == spec.head_bytes;
  layout->tile_is_run_ = layout->token_is_run_ && (spec.block_tokens == 1 || spec.token_stride == layout->token_bytes());
  return {};
}

Status KvLayout::CheckBlockIds(const int32_t* ids, uint64_t count) const {
  for (uint64_t i = 0; i < count; ++i) {
    if (ids[i] < -1 || ids[i] >= static_cast<int32_t>(spec_.block_count))
      return Status::OutOfRange("blockIds[" + std::to_string(i) + "] is " + std::to_string(ids[i]) + "; allowed are 0 to " + std::to_string(spec_.block_count - 1) +
                                ", or -1 for a null block");
  }
  return {};
}

}  // namespace kvferry
