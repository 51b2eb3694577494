#include "cpu_device.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "crc32c.h"
#include "memory_copy.h"
#include "strided_copy.h"

namespace kvferry {
namespace {

// Smaller parts do not repay the hand-over to another thread (about 5 us at 8 GB/s is 40 KB; a part is 100 times that).
constexpr uint64_t kMinPartBytes = uint64_t{4} << 20;

std::string IdText(const char* what, uint32_t id) { return std::string(what) + " " + std::to_string(id); }

}  // namespace

class CpuDevice::CopyJob final : public Job {
 public:
  CopyJob(bool gather, std::shared_ptr<Layout> layout, std::shared_ptr<Arena> arena, std::vector<SlotView> views, std::vector<int32_t> block_ids, uint32_t skip_tokens,
          uint32_t parts, std::shared_ptr<Operation> operation)
      : gather_(gather),
        layout_(std::move(layout)),
        arena_(std::move(arena)),
        views_(std::move(views)),
        block_ids_(std::move(block_ids)),
        skip_tokens_(skip_tokens),
        parts_(parts),
        operation_(std::move(operation)),
        writes_(arena_->capacity_bytes() <= CacheResidentBytes() ? ImageWrites::kCached : ImageWrites::kStreamed),
        crcs_(views_.size() * parts),
        parts_left_(new std::atomic<uint32_t>[views_.size()]),
        cancelled_(new std::atomic<bool>[views_.size()]) {
    for (size_t slot = 0; slot < views_.size(); ++slot) {
      parts_left_[slot].store(parts, std::memory_order_relaxed);
      cancelled_[slot].store(false, std::memory_order_relaxed);
    }
  }

  uint32_t item_count() const { return static_cast<uint32_t>(views_.size()) * parts_; }

  void Run(uint32_t item) override {
    const uint32_t slot = item / parts_;
    const KvLayout& layout = layout_->layout;
    const int32_t* ids = block_ids_.data() + size_t{slot} * layout.blocks_per_object();
    const TileRange tiles = PartTiles(item % parts_);
    if (gather_) {
      crcs_[item] = GatherTiles(layout, ids, tiles, views_[slot].data, writes_);
    } else {
      ScatterTiles(layout, ids, slot == 0 ? skip_tokens_ : 0, tiles, views_[slot].data);
    }
    EndPart(slot);
  }

  void Cancel(uint32_t item) override {
    cancelled_[item / parts_].store(true, std::memory_order_relaxed);
    EndPart(item / parts_);
  }

 private:
  TileRange PartTiles(uint32_t part) const {
    const uint64_t tiles = AllTiles(layout_->layout).end;
    return {tiles * part / parts_, tiles * (part + 1) / parts_};
  }

  void EndPart(uint32_t slot) {
    if (parts_left_[slot].fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    const bool cancelled = cancelled_[slot].load(std::memory_order_relaxed);
    if (gather_ && !cancelled) {
      uint32_t crc = 0;
      for (uint32_t part = 0; part < parts_; ++part) {
        const TileRange tiles = PartTiles(part);
        crc = Crc32cCombine(crc, crcs_[size_t{slot} * parts_ + part], (tiles.end - tiles.first) * layout_->layout.tile_bytes());
      }
      arena_->SetChecksum(views_[slot].index, crc);
    }
    // Before the item ends, so that whoever hears of the end can unregister at once.
    layout_->slots_in_flight.fetch_sub(1, std::memory_order_release);
    arena_->FinishIo(views_[slot].index);
    operation_->FinishItem(slot, cancelled ? item_status::kCancelled : item_status::kOk);
  }

  const bool gather_;
  const std::shared_ptr<Layout> layout_;
  const std::shared_ptr<Arena> arena_;
  const std::vector<SlotView> views_;
  const std::vector<int32_t> block_ids_;
  const uint32_t skip_tokens_;
  const uint32_t parts_;
  const std::shared_ptr<Operation> operation_;
  const ImageWrites writes_;
  std::vector<uint32_t> crcs_;
  std::unique_ptr<std::atomic<uint32_t>[]> parts_left_;
  std::unique_ptr<std::atomic<bool>[]> cancelled_;
};

Status CpuDevice::RegisterMemory(uint8_t* memory, uint64_t bytes, uint32_t* region_id) {
  if (closed_) return Status::Closed("the device is closed");
  if (bytes == 0) return Status::OutOfRange("memory has no bytes");
  *region_id = next_region_++;
  regions_[*region_id] = Region{memory, bytes};
  return {};
}

Status CpuDevice::UnregisterMemory(uint32_t region_id) {
  auto found = regions_.find(region_id);
  if (found == regions_.end()) return Status::OutOfRange(IdText("no memory is registered as region", region_id));
  if (found->second.layouts > 0) return Status::Busy(std::to_string(found->second.layouts) + " layouts use " + IdText("region", region_id) + "; unregister them first");
  regions_.erase(found);
  return {};
}

Status CpuDevice::RegisterLayout(KvLayoutSpec spec, const std::vector<uint32_t>& region_ids, const std::vector<double>& region_offsets, uint32_t* layout_id) {
  if (closed_) return Status::Closed("the device is closed");
  if (region_ids.size() != region_offsets.size())
    return Status::OutOfRange("regionOffsets has " + std::to_string(region_offsets.size()) + " entries; regionIds has " + std::to_string(region_ids.size()));
  spec.pointers.clear();
  for (size_t i = 0; i < region_ids.size(); ++i) {
    auto region = regions_.find(region_ids[i]);
    if (region == regions_.end()) return Status::OutOfRange("regionIds[" + std::to_string(i) + "] is " + std::to_string(region_ids[i]) + ", which is not registered");
    const double offset = region_offsets[i];
    if (!(offset >= 0) || offset != std::floor(offset) || offset > static_cast<double>(region->second.bytes))
      return Status::OutOfRange("regionOffsets[" + std::to_string(i) + "] is " + std::to_string(offset) + "; the region has " + std::to_string(region->second.bytes) + " bytes");
    const uint64_t skipped = static_cast<uint64_t>(offset);
    spec.pointers.push_back({reinterpret_cast<uintptr_t>(region->second.memory) + skipped, region->second.bytes - skipped});
  }
  auto layout = std::make_shared<Layout>();
  Status status = KvLayout::Compile(spec, &layout->layout);
  if (!status.ok()) return status;
  layout->region_ids = region_ids;
  for (uint32_t id : region_ids) ++regions_[id].layouts;
  *layout_id = next_layout_++;
  layouts_[*layout_id] = std::move(layout);
  return {};
}

Status CpuDevice::Find(uint32_t layout_id, std::shared_ptr<Layout>* layout) const {
  auto found = layouts_.find(layout_id);
  if (found == layouts_.end()) return Status::OutOfRange(IdText("no layout is registered as", layout_id));
  *layout = found->second;
  return {};
}

Status CpuDevice::UnregisterLayout(uint32_t layout_id) {
  std::shared_ptr<Layout> layout;
  Status status = Find(layout_id, &layout);
  if (!status.ok()) return status;
  const uint64_t in_flight = layout->slots_in_flight.load(std::memory_order_acquire);
  if (in_flight > 0) return Status::Busy(std::to_string(in_flight) + " slots are still being copied with " + IdText("layout", layout_id));
  for (uint32_t id : layout->region_ids) --regions_[id].layouts;
  layouts_.erase(layout_id);
  return {};
}

Status CpuDevice::ImageBytes(uint32_t layout_id, uint64_t* bytes) const {
  std::shared_ptr<Layout> layout;
  Status status = Find(layout_id, &layout);
  if (status.ok()) *bytes = layout->layout.image_bytes();
  return status;
}

Status CpuDevice::Start(bool gather, uint32_t op_id, uint32_t layout_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count,
                        std::vector<int32_t> block_ids, uint32_t skip_tokens) {
  if (closed_) return Status::Closed("the device is closed");
  std::shared_ptr<Layout> layout;
  Status status = Find(layout_id, &layout);
  if (!status.ok()) return status;
  const KvLayout& compiled = layout->layout;
  const uint64_t wanted = count * compiled.blocks_per_object();
  if (block_ids.size() != wanted)
    return Status::OutOfRange("blockIds has " + std::to_string(block_ids.size()) + " entries; " + std::to_string(count) + " slots of " + std::to_string(compiled.blocks_per_object()) +
                              " blocks need " + std::to_string(wanted));
  status = compiled.CheckBlockIds(block_ids.data(), block_ids.size());
  if (!status.ok()) return status;
  const uint32_t chunk_tokens = compiled.spec().chunk_tokens;
  if (skip_tokens > chunk_tokens)
    return Status::OutOfRange("skipTokens is " + std::to_string(skip_tokens) + "; allowed are 0 to " + std::to_string(chunk_tokens) + ", the tokens of one object");

  status = engine_->CheckOperation(op_id);
  if (!status.ok()) return status;
  // Looked at before they are resolved: a refused call must not even cost a slot its checksum.
  std::vector<SlotView> views;
  status = arena->View(refs, count, &views);
  if (!status.ok()) return status;
  for (size_t i = 0; i < views.size(); ++i) {
    if (views[i].bytes != compiled.image_bytes())
      return Status::OutOfRange("slot " + std::to_string(i) + " has " + std::to_string(views[i].bytes) + " bytes; an object of this layout has " +
                                std::to_string(compiled.image_bytes()));
  }
  status = arena->Resolve(refs, count, gather ? SlotAccess::kWrite : SlotAccess::kRead, &views);
  if (!status.ok()) return status;

  std::shared_ptr<Operation> operation = engine_->Begin(op_id, static_cast<uint32_t>(count));
  if (count == 0) return {};
  layout->slots_in_flight.fetch_add(count, std::memory_order_relaxed);
  const uint32_t threads = engine_->stepped() ? 1 : engine_->options().copy_threads;
  const uint64_t most_parts = std::min<uint64_t>(compiled.image_bytes() / kMinPartBytes, AllTiles(compiled).end);
  const uint32_t parts = threads == 1 || count >= 4 * threads ? 1 : static_cast<uint32_t>(std::clamp<uint64_t>(most_parts, 1, 4 * threads));
  auto job = std::make_shared<CopyJob>(gather, std::move(layout), arena, std::move(views), std::move(block_ids), skip_tokens, parts, std::move(operation));
  const uint32_t items = job->item_count();
  engine_->Submit(PoolKind::kCopy, std::move(job), items);
  return {};
}

Status CpuDevice::Gather(uint32_t op_id, uint32_t layout_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, std::vector<int32_t> block_ids) {
  return Start(true, op_id, layout_id, arena, refs, count, std::move(block_ids), 0);
}

Status CpuDevice::Scatter(uint32_t op_id, uint32_t layout_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, std::vector<int32_t> block_ids,
                          uint32_t skip_tokens) {
  return Start(false, op_id, layout_id, arena, refs, count, std::move(block_ids), skip_tokens);
}

uint64_t CpuDevice::InFlight() const noexcept {
  uint64_t slots = 0;
  for (const auto& [id, layout] : layouts_) slots += layout->slots_in_flight.load(std::memory_order_acquire);
  return slots;
}

Status CpuDevice::Close() {
  if (const uint64_t slots = InFlight(); slots > 0) return Status::Busy(std::to_string(slots) + " slots are still being copied; wait for them before closing the device");
  closed_ = true;
  layouts_.clear();
  regions_.clear();
  return {};
}

}  // namespace kvferry
