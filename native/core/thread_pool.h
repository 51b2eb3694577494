// ThreadPool: a fixed number of named threads that carry out the items of jobs, first job first. A thread takes a few items
// of the front job at a time, so that several threads share one large job and the lock is not taken per item.
//
// Thread safety: Post from any thread; the constructor and Stop on the owner's.
#ifndef KVFERRY_CORE_THREAD_POOL_H_
#define KVFERRY_CORE_THREAD_POOL_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "job.h"

namespace kvferry {

class ThreadPool {
 public:
  /// `name` is what the threads are called in ps and gdb; at most 12 characters count. Throws std::system_error when the
  /// system gives no thread at all; fewer than asked for is accepted and told by size().
  ThreadPool(const char* name, uint32_t threads);
  /// Runs Stop.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t size() const noexcept { return static_cast<uint32_t>(threads_.size()); }

  /// Queues the items. After Stop began they are cancelled on the calling thread.
  void Post(std::shared_ptr<Job> job, uint32_t item_count);

  /// Cancels items that have not started, on this thread, lets the running ones end and joins. Idempotent.
  void Stop() noexcept;

 private:
  struct Entry {
    std::shared_ptr<Job> job;
    uint32_t next;
    uint32_t end;
  };

  void Work(const char* name, uint32_t number);

  std::mutex mutex_;
  std::condition_variable not_empty_;
  std::deque<Entry> queue_;  // guarded by mutex_
  bool stopping_ = false;    // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_THREAD_POOL_H_
