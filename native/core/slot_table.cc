#include "slot_table.h"

namespace kvferry {

void SlotTable::Open(uint32_t capacity) { slots_.Reserve(capacity); }

uint32_t SlotTable::Acquire(uint32_t page, uint32_t bytes) noexcept {
  uint32_t index;
  if (free_head_ != 0) {
    index = free_head_ - 1;
    free_head_ = slots_[index].link.load(std::memory_order_relaxed);
  } else {
    index = bound_++;
  }
  Slot& slot = slots_[index];
  slot.generation += 1;
  slot.page = page;
  slot.bytes = bytes;
  // Nobody else knows the slot yet; what publishes it to workers is the queue through which they get it.
  slot.state.store(0, std::memory_order_relaxed);
  slot.link.store(0, std::memory_order_relaxed);
  live_count_ += 1;
  return index;
}

void SlotTable::Recycle(uint32_t index) noexcept {
  slots_[index].link.store(free_head_, std::memory_order_relaxed);
  free_head_ = index + 1;
  live_count_ -= 1;
}

void SlotTable::CountIn(Slot& slot) noexcept {
  if ((slot.state.fetch_add(1, std::memory_order_relaxed) & Slot::kCountMask) == 0) in_io_.fetch_add(1, std::memory_order_relaxed);
}

void SlotTable::CountOut(uint32_t index) noexcept {
  Slot& slot = slots_[index];
  // Release what the I/O wrote into the slot's memory; acquire what the others released, for the owner that reuses it.
  const uint32_t before = slot.state.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & Slot::kCountMask) != 1) return;
  if ((before & Slot::kDropped) != 0) {
    uint32_t head = drained_head_.load(std::memory_order_relaxed);
    do {
      slot.link.store(head, std::memory_order_relaxed);
    } while (!drained_head_.compare_exchange_weak(head, index + 1, std::memory_order_release, std::memory_order_relaxed));
  }
  // Last, so that in_io() == 0 means that we are through with the table.
  in_io_.fetch_sub(1, std::memory_order_release);
}

uint32_t SlotTable::TakeDrained() noexcept {
  if (drained_head_.load(std::memory_order_relaxed) == 0) return kNone;
  return drained_head_.exchange(0, std::memory_order_acquire) - 1;
}

}  // namespace kvferry
