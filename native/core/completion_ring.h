// CompletionRing: where finished operations wait for the owner thread, in the order they finished. Pushing wakes the owner
// only when the ring goes from empty to non-empty, so that one wake-up serves everything that finishes until it is drained.
//
// Bounded by Engine::kMaxPendingOperations: an operation is in the ring at most once.
//
// Thread safety: Push from any thread; the rest belongs to the owner thread (Wakes and Pushes are counters any thread may read).
#ifndef KVFERRY_CORE_COMPLETION_RING_H_
#define KVFERRY_CORE_COMPLETION_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "job.h"

namespace kvferry {

class CompletionRing {
 public:
  /// `wake` runs on the pushing thread, outside the ring's lock. REQUIRES: nothing has been pushed yet.
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

  void Push(std::shared_ptr<Operation> operation) noexcept;

  /// Writes whole records [op_id, item_count, status...] while they fit and returns the words written. `on_record` hears
  /// each op_id that left.
  size_t Drain(int32_t* out, size_t capacity_words, const std::function<void(uint32_t op_id)>& on_record);

  /// Words of the next record, 0 when there is none.
  size_t NeededWords();

  uint64_t wakes() const noexcept { return wakes_.load(std::memory_order_relaxed); }
  uint64_t pushes() const noexcept { return pushes_.load(std::memory_order_relaxed); }

 private:
  static size_t WordsOf(const Operation& operation) { return 2 + operation.item_count(); }
  /// Refills taken_ from pushed_ when it is used up. Returns whether there is a next record.
  bool Refill();

  std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Operation>> pushed_;  // guarded by mutex_
  // Owner thread only: what was taken out under the lock and not yet written.
  std::vector<std::shared_ptr<Operation>> taken_;
  size_t taken_position_ = 0;
  std::atomic<uint64_t> wakes_{0};
  std::atomic<uint64_t> pushes_{0};
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_COMPLETION_RING_H_
