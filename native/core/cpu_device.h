// CpuDevice: paged KV memory of this process as a device: registration of memory and layouts, gather and scatter between
// blocks and slots on the engine's copy threads.
//
// An operation is cut by slots, and large slots further by parts of their images, so that a request keeps all copy threads
// busy; the last part of a slot puts the checksums of its parts together.
//
// Memory and layouts in use by a running operation cannot be unregistered, so no thread ever reads memory that its owner
// thinks is free. Two null blocks aside, a scatter that names a block twice leaves either content in it.
//
// Thread safety: the owner thread of the engine.
#ifndef KVFERRY_CORE_CPU_DEVICE_H_
#define KVFERRY_CORE_CPU_DEVICE_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "arena.h"
#include "copy_plan.h"
#include "engine.h"
#include "kv_layout.h"
#include "status.h"

namespace kvferry {

class CpuDevice {
 public:
  explicit CpuDevice(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}
  CpuDevice(const CpuDevice&) = delete;
  CpuDevice& operator=(const CpuDevice&) = delete;

  /// The memory must stay until UnregisterMemory succeeded.
  Status RegisterMemory(uint8_t* memory, uint64_t bytes, uint32_t* region_id);
  /// Busy while a layout uses the region.
  Status UnregisterMemory(uint32_t region_id);

  /// `spec.pointers` is filled in from the regions and byte offsets, one each per pointer.
  Status RegisterLayout(KvLayoutSpec spec, const std::vector<uint32_t>& region_ids, const std::vector<double>& region_offsets, uint32_t* layout_id);
  /// Busy while operations use the layout.
  Status UnregisterLayout(uint32_t layout_id);
  Status ImageBytes(uint32_t layout_id, uint64_t* bytes) const;

  /// Paged blocks -> slots. `block_ids` has blocks_per_object entries for each slot.
  Status Gather(uint32_t op_id, uint32_t layout_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, std::vector<int32_t> block_ids);
  /// Slots -> paged blocks, without the first `skip_tokens` tokens of the first slot.
  Status Scatter(uint32_t op_id, uint32_t layout_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, std::vector<int32_t> block_ids,
                 uint32_t skip_tokens);

  /// Slots that running operations still work on.
  uint64_t InFlight() const noexcept;
  /// Forgets everything. Busy while operations run. Idempotent.
  Status Close();
  bool closed() const noexcept { return closed_; }

 private:
  struct Region {
    uint8_t* memory;
    uint64_t bytes;
    uint32_t layouts = 0;
  };
  struct Layout {
    KvLayout layout;
    std::vector<uint32_t> region_ids;
    std::atomic<uint64_t> slots_in_flight{0};
  };
  class CopyJob;

  Status Find(uint32_t layout_id, std::shared_ptr<Layout>* layout) const;
  Status Start(bool gather, uint32_t op_id, uint32_t layout_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count,
               std::vector<int32_t> block_ids, uint32_t skip_tokens);

  std::shared_ptr<Engine> engine_;
  std::map<uint32_t, Region> regions_;
  std::map<uint32_t, std::shared_ptr<Layout>> layouts_;
  uint32_t next_region_ = 1;
  uint32_t next_layout_ = 1;
  bool closed_ = false;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_CPU_DEVICE_H_
