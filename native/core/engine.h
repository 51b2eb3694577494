// Engine: the threads that do the work of asynchronous operations, and the ring through which their results return.
//
// One engine belongs to one JavaScript environment. An operation is begun on the owner thread, its items are carried out by
// jobs on a pool, and its last FinishItem puts one record into the completion ring:
//
//   Status status = engine->CheckOperation(op_id);                      // nothing is changed yet
//   if (status.ok()) status = arena->Resolve(refs, n, access, &views);  // I/O counted from here on
//   auto operation = engine->Begin(op_id, n);
//   engine->Submit(PoolKind::kCopy, std::make_shared<MyJob>(arena, views, operation), n);
//
//   void MyJob::Run(uint32_t i) { ...; arena->FinishIo(views[i].index); operation->FinishItem(i, 0); }
//
// Stepped mode: no threads. Submit queues, Step runs one submitted job (all its items) after the other on the caller's thread.
//
// Thread safety: the owner thread calls everything; other threads may call only Submit and Operation::FinishItem.
// The engine outlives its operations: jobs may keep a plain Engine*.
#ifndef KVFERRY_CORE_ENGINE_H_
#define KVFERRY_CORE_ENGINE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "completion_ring.h"
#include "job.h"
#include "status.h"
#include "thread_pool.h"

namespace kvferry {

/// Item statuses: 0 is success, 1..99 are these (src/native/binding.ts ItemStatus), negative values are -errno.
namespace item_status {
constexpr int32_t kOk = 0;
constexpr int32_t kMissing = 1;
constexpr int32_t kCorrupt = 2;
constexpr int32_t kForeignKey = 3;
constexpr int32_t kOtherLayout = 4;
constexpr int32_t kAlreadyPresent = 5;
constexpr int32_t kCancelled = 6;
}  // namespace item_status

enum class PoolKind {
  /// Gather, scatter, slot copies, checksums: bound by memory bandwidth.
  kCopy,
  /// Work that blocks on the file system.
  kFile,
};

enum class FileEngineChoice { kAuto, kIoUring, kThreads };

struct EngineOptions {
  uint32_t copy_threads = 2;
  uint32_t file_threads = 8;
  FileEngineChoice file_engine = FileEngineChoice::kAuto;
  uint64_t file_bytes_in_flight = uint64_t{256} << 20;
  bool stepped = false;
};

/// What carries file reads and writes (file_engine.h). The engine owns it and stops it before it joins its pools.
class FileBackend {
 public:
  virtual ~FileBackend() = default;
  /// "io_uring" or "threads".
  virtual const char* Name() const = 0;
  /// Why it is not io_uring, in words; empty when it is.
  virtual std::string Reason() const = 0;
  virtual uint64_t BytesInFlight() const = 0;
  /// Cancels what has not started, waits for what has, joins its threads. Owner thread; afterwards the pools stop.
  virtual void Stop() = 0;
};

struct EngineStats {
  std::string file_engine;
  std::string file_engine_reason;
  uint32_t copy_threads = 0;
  uint32_t file_threads = 0;
  uint64_t pending_operations = 0;
  uint64_t file_bytes_in_flight = 0;
  uint64_t wake_ups = 0;
  uint64_t completions = 0;
};

class Engine {
 public:
  /// Operations that may be pending at once; Begin beyond it is refused, so that a caller's bug cannot eat the memory.
  static constexpr size_t kMaxPendingOperations = 65536;

  static Status Open(const EngineOptions& options, std::shared_ptr<Engine>* engine);
  /// REQUIRES: Shutdown (or Close) has returned. Runs it otherwise.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const EngineOptions& options() const noexcept { return options_; }
  bool stepped() const noexcept { return options_.stepped; }
  bool closed() const noexcept { return closed_; }

  /// Whether an operation with this id may begin: engine open, id not pending, not too many pending.
  Status CheckOperation(uint32_t op_id) const;
  /// REQUIRES: CheckOperation(op_id).ok(). An operation of no items completes by itself; submit nothing for it.
  std::shared_ptr<Operation> Begin(uint32_t op_id, uint32_t item_count);

  /// Queues items 0..item_count-1 of the job; first in, first out per pool. Any thread. After Shutdown began, the items are
  /// cancelled on the calling thread. In stepped mode, what a running job submits runs in the same step.
  void Submit(PoolKind kind, std::shared_ptr<Job> job, uint32_t item_count);

  /// Moves completed records into `out` as [op_id, item_count, status...]; returns the words written.
  size_t Drain(int32_t* out, size_t capacity_words);
  /// Words that the next record wants; 0 when the ring is empty.
  size_t NeededWords();
  /// Stepped mode: runs up to `count` queued jobs.
  uint32_t Step(uint32_t count);
  EngineStats Stats() const;

  /// Called on a worker thread when the ring goes from empty to non-empty. Set before the first Begin; it must not call the
  /// engine. Not called in stepped mode.
  void SetWake(std::function<void()> wake);
  /// Called on the owner thread when the first operation becomes pending (true) and when the last was drained (false).
  void SetBusyChanged(std::function<void(bool busy)> busy_changed);

  void SetFileBackend(std::unique_ptr<FileBackend> backend);
  /// Null until SetFileBackend.
  FileBackend* file_backend() const noexcept { return file_backend_.get(); }

  /// Busy while operations are pending, else Shutdown. Idempotent.
  Status Close();
  /// For the end of the environment: cancels items that have not started, waits for those that have, joins the threads.
  /// Owner thread. Idempotent.
  void Shutdown() noexcept;

 private:
  struct SteppedJob {
    std::shared_ptr<Job> job;
    uint32_t item_count;
  };

  explicit Engine(const EngineOptions& options);
  void RunStepped(SteppedJob stepped_job);

  const EngineOptions options_;
  bool closed_ = false;
  CompletionRing ring_;
  std::unique_ptr<FileBackend> file_backend_;
  std::unique_ptr<ThreadPool> copy_pool_;
  std::unique_ptr<ThreadPool> file_pool_;
  std::unordered_set<uint32_t> pending_;
  std::function<void(bool)> busy_changed_;
  // Stepped mode only, owner thread only.
  std::deque<SteppedJob> queue_;
  std::deque<SteppedJob> nested_;
  bool stepping_ = false;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_ENGINE_H_
