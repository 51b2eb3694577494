#include "file_engine.h"

#include <algorithm>
#include <utility>

#include "uring_loop.h"

namespace kvferry {
namespace {

constexpr uint64_t kDirectAlignment = 4096;

/// Stepped mode: the tasks of one operation, one after the other.
class SteppedBatch final : public Job {
 public:
  explicit SteppedBatch(std::vector<std::shared_ptr<FileTask>> tasks) : tasks_(std::move(tasks)) {}
  void Run(uint32_t) override {
    for (const auto& task : tasks_) task->Run(0);
  }
  void Cancel(uint32_t) override {
    for (const auto& task : tasks_) task->Cancel(0);
  }

 private:
  std::vector<std::shared_ptr<FileTask>> tasks_;
};

}  // namespace

int SliceOf(const FileTransfer& transfer, uint64_t skip, uint64_t most, iovec vectors[2]) {
  int count = 0;
  for (const iovec& piece : transfer.pieces) {
    if (skip >= piece.iov_len) {
      skip -= piece.iov_len;
      continue;
    }
    const uint64_t bytes = std::min<uint64_t>(piece.iov_len - skip, most);
    if (bytes == 0) break;
    vectors[count++] = {static_cast<uint8_t*>(piece.iov_base) + skip, bytes};
    most -= bytes;
    skip = 0;
  }
  return count;
}

TransferProgress ProgressOf(const FileTransfer& transfer, int64_t result, uint64_t left) {
  if (result == -EINTR || result == -EAGAIN) return {0, 0};
  if (result < 0) return {0, static_cast<int32_t>(result)};
  const uint64_t moved = static_cast<uint64_t>(result);
  if (moved >= left) return {left, 0};
  if (moved == 0) return {0, transfer.write ? -EIO : kEndOfFile};
  if (!transfer.direct) return {moved, 0};
  // O_DIRECT takes aligned offsets only. A cut inside a block happens at the end of a file (read) and nowhere else; writing a
  // block twice would be harmless, but making no progress would loop.
  const uint64_t whole = moved / kDirectAlignment * kDirectAlignment;
  if (whole == 0) return {0, transfer.write ? -EIO : kEndOfFile};
  return {whole, 0};
}

int32_t TransferNow(const SystemCalls& calls, const FileTransfer& transfer) {
  const uint64_t total = transfer.bytes();
  uint64_t done = 0;
  while (done < total) {
    iovec vectors[2];
    const int count = SliceOf(transfer, done, total - done, vectors);
    const off_t offset = static_cast<off_t>(transfer.offset + done);
    const ssize_t result = transfer.write ? calls.pwritev(transfer.file, vectors, count, offset) : calls.preadv(transfer.file, vectors, count, offset);
    const TransferProgress progress = ProgressOf(transfer, result, total - done);
    if (progress.error != 0) return progress.error;
    done += progress.bytes;
  }
  return 0;
}

void FileTask::Run(uint32_t) { engine_->RunTask(this); }

void FileTask::Cancel(uint32_t) {
  // Only an engine that was never stopped in order comes here; a transfer that ended must still close its file.
  if (phase_ == Phase::kFinish) {
    Finish(-ECANCELED);
  } else {
    CancelTask();
  }
  engine_->EndTask(this);
}

FileEngine::FileEngine(Engine* engine, const SystemCalls& calls) : engine_(engine), calls_(calls), budget_bytes_(engine->options().file_bytes_in_flight) {}

FileEngine::~FileEngine() = default;

Status FileEngine::For(Engine* engine, FileEngine** files, const SystemCalls* calls) {
  if (engine->closed()) return Status::Closed("the engine is closed");
  if (engine->file_backend() != nullptr) {
    *files = static_cast<FileEngine*>(engine->file_backend());
    return {};
  }
  std::unique_ptr<FileEngine> opened(new FileEngine(engine, calls != nullptr ? *calls : *KernelCalls()));
  const FileEngineChoice choice = engine->options().file_engine;
  if (engine->stepped()) {
    opened->reason_ = "stepped mode runs file work on the caller's thread";
  } else if (choice == FileEngineChoice::kThreads) {
    opened->reason_ = "asked for";
  } else {
    opened->uring_ = UringLoop::Open(opened.get(), opened->calls_, &opened->reason_);
    if (opened->uring_ == nullptr && choice == FileEngineChoice::kIoUring)
      return Status::OutOfRange("fileEngine is \"io_uring\", which this host refuses: " + opened->reason_ + "; \"auto\" and \"threads\" work here");
  }
  *files = opened.get();
  engine->SetFileBackend(std::move(opened));
  return {};
}

const char* FileEngine::Name() const { return uring_ != nullptr ? "io_uring" : "threads"; }

uint64_t FileEngine::BytesInFlight() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return bytes_in_flight_;
}

void FileEngine::Submit(std::vector<std::shared_ptr<FileTask>> tasks) {
  if (tasks.empty()) return;
  for (const auto& task : tasks) task->engine_ = this;
  if (engine_->stepped()) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (const auto& task : tasks) bytes_in_flight_ += task->BudgetBytes();
      running_ += tasks.size();
    }
    engine_->Submit(PoolKind::kFile, std::make_shared<SteppedBatch>(std::move(tasks)), 1);
    return;
  }
  std::vector<std::shared_ptr<FileTask>> admitted;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!stopping_) {
      for (auto& task : tasks) (task->IsLoad() ? loads_ : stores_).push_back(std::move(task));
      tasks.clear();
      admitted = Admit();
    }
  }
  for (const auto& task : tasks) {
    task->CancelTask();
    task->Complete();
  }
  Start(std::move(admitted));
}

std::vector<std::shared_ptr<FileTask>> FileEngine::Admit() {
  std::vector<std::shared_ptr<FileTask>> admitted;
  while (!stopping_ && running_ < kMaxRunningTasks && !(loads_.empty() && stores_.empty())) {
    auto& queue = loads_.empty() || (store_next_ && !stores_.empty()) ? stores_ : loads_;
    const uint64_t bytes = queue.front()->BudgetBytes();
    if (bytes_in_flight_ > 0 && bytes_in_flight_ + bytes > budget_bytes_) break;
    store_next_ = !store_next_;
    bytes_in_flight_ += bytes;
    ++running_;
    admitted.push_back(std::move(queue.front()));
    queue.pop_front();
  }
  return admitted;
}

void FileEngine::Start(std::vector<std::shared_ptr<FileTask>> tasks) {
  for (auto& task : tasks) engine_->Submit(PoolKind::kFile, std::move(task), 1);
}

void FileEngine::RunTask(FileTask* task) {
  if (task->phase_ == FileTask::Phase::kFinish) {
    task->Finish(task->result_);
    EndTask(task);
    return;
  }
  bool stopping;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping = stopping_;
  }
  if (stopping) {
    task->CancelTask();
    EndTask(task);
  } else if (!task->Prepare(&task->transfer_)) {
    EndTask(task);
  } else if (uring_ != nullptr) {
    uring_->Submit(task->shared_from_this());
  } else {
    task->Finish(TransferNow(calls_, task->transfer_));
    EndTask(task);
  }
}

void FileEngine::Transferred(std::shared_ptr<FileTask> task, int32_t result) {
  task->result_ = result;
  task->phase_ = FileTask::Phase::kFinish;
  engine_->Submit(PoolKind::kFile, std::move(task), 1);
}

void FileEngine::EndTask(FileTask* task) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    bytes_in_flight_ -= task->BudgetBytes();
  }
  task->Complete();
  std::vector<std::shared_ptr<FileTask>> admitted;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    --running_;
    admitted = Admit();
    if (running_ == 0) idle_.notify_all();
  }
  Start(std::move(admitted));
}

void FileEngine::Stop() {
  std::deque<std::shared_ptr<FileTask>> cancelled;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    cancelled.swap(loads_);
    for (auto& task : stores_) cancelled.push_back(std::move(task));
    stores_.clear();
  }
  for (const auto& task : cancelled) {
    task->CancelTask();
    task->Complete();
  }
  // Stepped tasks wait in the engine's own queue, which the engine cancels after this.
  if (!engine_->stepped()) {
    std::unique_lock<std::mutex> lock(mutex_);
    idle_.wait(lock, [this] { return running_ == 0; });
  }
  if (uring_ != nullptr) uring_->Stop();
}

}  // namespace kvferry
