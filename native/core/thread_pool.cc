#include "thread_pool.h"

#include <algorithm>
#include <cstdio>
#include <system_error>
#include <utility>

#include "worker_thread.h"

namespace kvferry {
namespace {

// Items taken under one lock. Enough to make the lock cheap for 16 KiB items, few enough that the last items of a job are
// shared among the threads.
constexpr uint32_t kMaxItemsAtOnce = 8;

}  // namespace

ThreadPool::ThreadPool(const char* name, uint32_t threads) {
  threads_.reserve(threads);
  for (uint32_t number = 0; number < threads; ++number) {
    try {
      threads_.emplace_back(&ThreadPool::Work, this, name, number);
    } catch (const std::system_error&) {
      if (threads_.empty()) throw;
      return;
    }
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Post(std::shared_ptr<Job> job, uint32_t item_count) {
  if (item_count == 0) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!stopping_) {
      queue_.push_back({std::move(job), 0, item_count});
      if (item_count == 1) {
        not_empty_.notify_one();
      } else {
        not_empty_.notify_all();
      }
      return;
    }
  }
  for (uint32_t item = 0; item < item_count; ++item) job->Cancel(item);
}

void ThreadPool::Stop() noexcept {
  std::deque<Entry> cancelled;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    cancelled.swap(queue_);
    not_empty_.notify_all();
  }
  for (Entry& entry : cancelled) {
    for (uint32_t item = entry.next; item < entry.end; ++item) entry.job->Cancel(item);
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void ThreadPool::Work(const char* name, uint32_t number) {
  char thread_name[16];
  std::snprintf(thread_name, sizeof thread_name, "%.12s-%u", name, number % 100);
  BecomeWorker(thread_name);

  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    not_empty_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Entry& front = queue_.front();
    const uint32_t left = front.end - front.next;
    const uint32_t share = left / (2 * std::max<uint32_t>(1, size()));
    const uint32_t take = std::clamp<uint32_t>(share, 1, std::min(left, kMaxItemsAtOnce));
    const uint32_t first = front.next;
    front.next += take;
    std::shared_ptr<Job> job = front.job;
    if (front.next == front.end) queue_.pop_front();

    lock.unlock();
    for (uint32_t item = first; item < first + take; ++item) job->Run(item);
    // The job may hold the last reference to arenas and buffers: let it go outside the lock.
    job.reset();
    lock.lock();
  }
}

}  // namespace kvferry
