#include "completion_ring.h"

#include <algorithm>
#include <utility>

namespace kvferry {

void Operation::FinishItem(uint32_t item, int32_t status) noexcept {
  statuses_[item] = status;
  // Release: our status and everything done for the item; acquire in the last: everybody else's.
  if (remaining_.fetch_sub(1, std::memory_order_acq_rel) == 1) ring_->Push(shared_from_this());
}

void CompletionRing::Push(std::shared_ptr<Operation> operation) noexcept {
  bool was_empty;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    was_empty = pushed_.empty();
    pushed_.push_back(std::move(operation));
  }
  pushes_.fetch_add(1, std::memory_order_relaxed);
  if (was_empty && wake_) {
    wakes_.fetch_add(1, std::memory_order_relaxed);
    wake_();
  }
}

bool CompletionRing::Refill() {
  if (taken_position_ < taken_.size()) return true;
  taken_.clear();
  taken_position_ = 0;
  std::lock_guard<std::mutex> lock(mutex_);
  taken_.swap(pushed_);
  return !taken_.empty();
}

size_t CompletionRing::Drain(int32_t* out, size_t capacity_words, const std::function<void(uint32_t op_id)>& on_record) {
  size_t words = 0;
  while (Refill()) {
    const Operation& operation = *taken_[taken_position_];
    if (WordsOf(operation) > capacity_words - words) break;
    out[words] = static_cast<int32_t>(operation.op_id());
    out[words + 1] = static_cast<int32_t>(operation.item_count());
    std::copy(operation.statuses().begin(), operation.statuses().end(), out + words + 2);
    words += WordsOf(operation);
    on_record(operation.op_id());
    taken_[taken_position_++].reset();
  }
  return words;
}

size_t CompletionRing::NeededWords() { return Refill() ? WordsOf(*taken_[taken_position_]) : 0; }

}  // namespace kvferry
