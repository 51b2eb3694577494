// Job: the items of one operation as work for a pool. Operation: the statuses of those items, and who is told at the end.
#ifndef KVFERRY_CORE_JOB_H_
#define KVFERRY_CORE_JOB_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace kvferry {

/// Run is called from several threads at once, once per item. Exactly one of Run and Cancel is called for each item.
/// Neither may throw.
class Job {
 public:
  virtual ~Job() = default;
  virtual void Run(uint32_t item) = 0;
  /// The engine shut down before the item started: give back what the item holds (FinishIo) and finish it as kCancelled.
  virtual void Cancel(uint32_t item) = 0;
};

class CompletionRing;

/// One pending operation. Held by shared_ptr by the jobs that work on it.
///
/// Thread safety: FinishItem may be called from any thread, once per item.
class Operation : public std::enable_shared_from_this<Operation> {
 public:
  Operation(CompletionRing* ring, uint32_t op_id, uint32_t item_count) : ring_(ring), op_id_(op_id), statuses_(item_count), remaining_(item_count) {}

  uint32_t op_id() const noexcept { return op_id_; }
  uint32_t item_count() const noexcept { return static_cast<uint32_t>(statuses_.size()); }

  /// Ends an item; the last one puts the operation into the ring. Give back slots (Arena::FinishIo) before this call.
  void FinishItem(uint32_t item, int32_t status) noexcept;

  /// REQUIRES: the operation is complete.
  const std::vector<int32_t>& statuses() const noexcept { return statuses_; }

 private:
  friend class CompletionRing;
  CompletionRing* const ring_;
  const uint32_t op_id_;
  std::vector<int32_t> statuses_;
  std::atomic<uint32_t> remaining_;
};

/// A job of one item from two functions, for work that needs no class.
class FunctionJob final : public Job {
 public:
  FunctionJob(std::function<void()> run, std::function<void()> cancel) : run_(std::move(run)), cancel_(std::move(cancel)) {}
  void Run(uint32_t) override { run_(); }
  void Cancel(uint32_t) override { cancel_(); }

 private:
  std::function<void()> run_;
  std::function<void()> cancel_;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_JOB_H_
