#include "engine.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace kvferry {
namespace {

/// Carries an operation of no items through the queue, so that it too completes after the call that began it.
class EmptyOperationJob final : public Job {
 public:
  EmptyOperationJob(CompletionRing* ring, std::shared_ptr<Operation> operation) : ring_(ring), operation_(std::move(operation)) {}
  void Run(uint32_t) override { ring_->Push(operation_); }
  void Cancel(uint32_t) override { ring_->Push(operation_); }

 private:
  CompletionRing* const ring_;
  std::shared_ptr<Operation> operation_;
};

}  // namespace

Engine::Engine(const EngineOptions& options) : options_(options) {}

Engine::~Engine() { Shutdown(); }

Status Engine::Open(const EngineOptions& options, std::shared_ptr<Engine>* engine) {
  if (options.copy_threads < 1 || options.copy_threads > 256) return Status::OutOfRange("copyThreads is " + std::to_string(options.copy_threads) + "; 1 to 256 are allowed");
  if (options.file_threads < 1 || options.file_threads > 256) return Status::OutOfRange("fileThreads is " + std::to_string(options.file_threads) + "; 1 to 256 are allowed");
  std::shared_ptr<Engine> opened(new Engine(options));
  if (!options.stepped) {
    try {
      opened->copy_pool_ = std::make_unique<ThreadPool>("kvferry-copy", options.copy_threads);
      opened->file_pool_ = std::make_unique<ThreadPool>("kvferry-file", options.file_threads);
    } catch (const std::system_error& error) {
      return Status::System("starting the engine's threads", error.code().value());
    }
  }
  *engine = std::move(opened);
  return {};
}

Status Engine::CheckOperation(uint32_t op_id) const {
  if (closed_) return Status::Closed("the engine is closed");
  if (pending_.count(op_id) != 0) return Status::InvalidArgument("opId " + std::to_string(op_id) + " belongs to an operation that is still pending");
  if (pending_.size() >= kMaxPendingOperations) {
    return Status::Busy(std::to_string(pending_.size()) + " operations are pending; no more are taken until some completed");
  }
  return {};
}

std::shared_ptr<Operation> Engine::Begin(uint32_t op_id, uint32_t item_count) {
  auto operation = std::make_shared<Operation>(&ring_, op_id, item_count);
  pending_.insert(op_id);
  if (pending_.size() == 1 && busy_changed_) busy_changed_(true);
  if (item_count == 0) Submit(PoolKind::kCopy, std::make_shared<EmptyOperationJob>(&ring_, operation), 1);
  return operation;
}

void Engine::Submit(PoolKind kind, std::shared_ptr<Job> job, uint32_t item_count) {
  if (item_count == 0) return;
  if (!options_.stepped) {
    (kind == PoolKind::kCopy ? copy_pool_ : file_pool_)->Post(std::move(job), item_count);
    return;
  }
  if (closed_) {
    for (uint32_t item = 0; item < item_count; ++item) job->Cancel(item);
    return;
  }
  (stepping_ ? nested_ : queue_).push_back({std::move(job), item_count});
}

size_t Engine::Drain(int32_t* out, size_t capacity_words) {
  const bool was_busy = !pending_.empty();
  const size_t words = ring_.Drain(out, capacity_words, [this](uint32_t op_id) { pending_.erase(op_id); });
  if (was_busy && pending_.empty() && busy_changed_) busy_changed_(false);
  return words;
}

size_t Engine::NeededWords() { return ring_.NeededWords(); }

uint32_t Engine::Step(uint32_t count) {
  uint32_t ran = 0;
  while (ran < count && !queue_.empty()) {
    SteppedJob stepped_job = std::move(queue_.front());
    queue_.pop_front();
    stepping_ = true;
    RunStepped(std::move(stepped_job));
    while (!nested_.empty()) {
      stepped_job = std::move(nested_.front());
      nested_.pop_front();
      RunStepped(std::move(stepped_job));
    }
    stepping_ = false;
    ++ran;
  }
  return ran;
}

void Engine::RunStepped(SteppedJob stepped_job) {
  for (uint32_t item = 0; item < stepped_job.item_count; ++item) stepped_job.job->Run(item);
}

EngineStats Engine::Stats() const {
  EngineStats stats;
  stats.file_engine = file_backend_ ? file_backend_->Name() : "threads";
  stats.file_engine_reason = file_backend_ ? file_backend_->Reason() : "no file has been opened";
  stats.copy_threads = copy_pool_ ? copy_pool_->size() : 0;
  stats.file_threads = file_pool_ ? file_pool_->size() : 0;
  stats.pending_operations = pending_.size();
  stats.file_bytes_in_flight = file_backend_ ? file_backend_->BytesInFlight() : 0;
  stats.wake_ups = ring_.wakes();
  stats.completions = ring_.pushes();
  return stats;
}

void Engine::SetWake(std::function<void()> wake) {
  if (!options_.stepped) ring_.SetWake(std::move(wake));
}

void Engine::SetBusyChanged(std::function<void(bool)> busy_changed) { busy_changed_ = std::move(busy_changed); }

void Engine::SetFileBackend(std::unique_ptr<FileBackend> backend) { file_backend_ = std::move(backend); }

Status Engine::Close() {
  if (closed_) return {};
  if (!pending_.empty()) return Status::Busy(std::to_string(pending_.size()) + " operations are pending; wait for them before closing the engine");
  Shutdown();
  return {};
}

void Engine::Shutdown() noexcept {
  closed_ = true;
  // The backend first: its running work may still post to the file pool.
  if (file_backend_) file_backend_->Stop();
  if (file_pool_) file_pool_->Stop();
  if (copy_pool_) copy_pool_->Stop();
  for (SteppedJob& stepped_job : queue_) {
    for (uint32_t item = 0; item < stepped_job.item_count; ++item) stepped_job.job->Cancel(item);
  }
  queue_.clear();
}

}  // namespace kvferry
