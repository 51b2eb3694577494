// FileEngine: carries out file reads and writes straight from and to slots, within a budget of bytes in flight.
//
// A FileTask is one object's way to or from its file, in three steps:
//   Prepare   on a file thread: opens the file and says what is to be transferred;
//   transfer  by io_uring, or on the same file thread where io_uring is refused;
//   Finish    on a file thread: verifies or publishes, closes; then Complete gives back the slot and reports.
// Tasks wait in order, loads apart from stores, until their bytes fit into the budget and fewer than kMaxRunningTasks run, so
// that small objects cannot use up the process's file descriptors; the two queues take turns. A task larger than the whole
// budget goes alone.
//
// In stepped mode there are no threads: a batch of tasks is one step, each carried out synchronously and in order.
//
// Thread safety: Submit from any thread; Open and Stop belong to the engine's owner.
#ifndef KVFERRY_CORE_FILE_ENGINE_H_
#define KVFERRY_CORE_FILE_ENGINE_H_

#include <errno.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine.h"
#include "system_calls.h"

namespace kvferry {

class UringLoop;

/// Two contiguous pieces of memory (header, payload) and the piece of a file they are read from or written to.
struct FileTransfer {
  int file = -1;
  bool write = false;
  /// O_DIRECT: what is left after a short transfer starts again at a multiple of 4096.
  bool direct = false;
  iovec pieces[2] = {};
  uint64_t offset = 0;

  uint64_t bytes() const noexcept { return pieces[0].iov_len + pieces[1].iov_len; }
};

/// Result of a read that met the end of the file.
constexpr int32_t kEndOfFile = -ENODATA;

/// The part [skip, skip + most) of a transfer as vectors; returns how many (0..2).
int SliceOf(const FileTransfer& transfer, uint64_t skip, uint64_t most, iovec vectors[2]);

/// What a completed call of `result` bytes (or -errno) means for a transfer that has `left` bytes to go: the progress made, or
/// an error. Progress 0 with error 0 says: the same again.
struct TransferProgress {
  uint64_t bytes;
  int32_t error;
};
TransferProgress ProgressOf(const FileTransfer& transfer, int64_t result, uint64_t left);

/// Carries a transfer out on this thread. 0 or -errno.
int32_t TransferNow(const SystemCalls& calls, const FileTransfer& transfer);

class FileTask : public Job, public std::enable_shared_from_this<FileTask> {
 public:
  virtual uint64_t BudgetBytes() const = 0;
  virtual bool IsLoad() const = 0;
  /// False when there is nothing to transfer; then Finish is not called.
  virtual bool Prepare(FileTransfer* transfer) = 0;
  /// `result` of the transfer: 0 or -errno.
  virtual void Finish(int32_t result) = 0;
  /// The task's last step, after its bytes left the budget: FinishIo and FinishItem.
  virtual void Complete() = 0;
  /// Instead of everything else: the engine stopped before Prepare.
  virtual void CancelTask() = 0;

  // Job, for the engine's file pool.
  void Run(uint32_t) final;
  void Cancel(uint32_t) final;

 private:
  friend class FileEngine;
  friend class UringLoop;
  enum class Phase { kPrepare, kFinish };

  class FileEngine* engine_ = nullptr;
  Phase phase_ = Phase::kPrepare;
  int32_t result_ = 0;
  FileTransfer transfer_;
};

class FileEngine final : public FileBackend {
 public:
  /// Each holds one open file. Twice what io_uring has in the kernel, so that it never waits for an open.
  static constexpr uint64_t kMaxRunningTasks = 128;

  /// The engine's file backend, opened at first use with the choice in its options. Fails when io_uring was asked for and is
  /// refused. `calls` is for tests; it must outlive the engine.
  static Status For(Engine* engine, FileEngine** files, const SystemCalls* calls = nullptr);
  ~FileEngine() override;

  const SystemCalls& calls() const noexcept { return calls_; }
  Engine* engine() const noexcept { return engine_; }

  void Submit(std::vector<std::shared_ptr<FileTask>> tasks);

  // FileBackend
  const char* Name() const override;
  std::string Reason() const override { return reason_; }
  uint64_t BytesInFlight() const override;
  void Stop() override;

 private:
  friend class FileTask;
  friend class UringLoop;

  FileEngine(Engine* engine, const SystemCalls& calls);
  /// Takes tasks that fit the budget. REQUIRES: mutex_ held.
  std::vector<std::shared_ptr<FileTask>> Admit();
  void Start(std::vector<std::shared_ptr<FileTask>> tasks);
  /// The transfer of the task ended; on any thread.
  void Transferred(std::shared_ptr<FileTask> task, int32_t result);
  void RunTask(FileTask* task);
  void EndTask(FileTask* task);

  Engine* const engine_;
  const SystemCalls& calls_;
  const uint64_t budget_bytes_;
  std::string reason_;
  std::unique_ptr<UringLoop> uring_;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::deque<std::shared_ptr<FileTask>> loads_;   // guarded by mutex_
  std::deque<std::shared_ptr<FileTask>> stores_;  // guarded by mutex_
  bool store_next_ = true;                        // guarded by mutex_
  uint64_t bytes_in_flight_ = 0;                  // guarded by mutex_
  uint64_t running_ = 0;                          // guarded by mutex_
  bool stopping_ = false;                         // guarded by mutex_
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_FILE_ENGINE_H_
