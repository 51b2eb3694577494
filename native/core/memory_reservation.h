// MemoryReservation: the address space of one arena. Private memory is reserved without commitment (MAP_NORESERVE) and
// populated on first touch, so that 512 GiB open as fast as 64 KiB; shared memory is a POSIX object whose pages are allocated
// before anybody sees it, because a client that touches an unbacked page dies of SIGBUS.
//
// Also LazyArray, a plain array in lazily populated memory, for bookkeeping that grows with use and must not move.
//
// Thread safety: belongs to one thread; a thread that populates ahead of it runs in the background until Close.
#ifndef KVFERRY_CORE_MEMORY_RESERVATION_H_
#define KVFERRY_CORE_MEMORY_RESERVATION_H_

#include <sys/types.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "status.h"

namespace kvferry {

enum class HugePageState { kOn, kRefused, kOff };

class MemoryReservation {
 public:
  /// Returns 0 or an errno, as posix_fallocate does.
  using AllocateCall = int (*)(int file, off_t offset, off_t bytes);

  MemoryReservation() = default;
  ~MemoryReservation() { Close(); }
  MemoryReservation(const MemoryReservation&) = delete;
  MemoryReservation& operator=(const MemoryReservation&) = delete;

  /// Reserves `bytes` (a multiple of 4096) of private memory.
  Status OpenPrivate(uint64_t bytes, bool huge_pages);
  /// Creates the shared memory object `name` and allocates it. When the file system is too small for all of it, keeps what
  /// it could get (bytes() says how much), down to `least_bytes`. An object of that name whose owner is dead is replaced; one
  /// that has a living owner, or that is not ours, is refused with NameTaken.
  /// `allocate` is posix_fallocate, or a test's idea of a small file system.
  Status OpenShared(const std::string& name, uint64_t bytes, uint64_t least_bytes, bool huge_pages, AllocateCall allocate = nullptr);

  uint8_t* base() const noexcept { return base_; }
  uint64_t bytes() const noexcept { return bytes_; }
  HugePageState huge_pages() const noexcept { return huge_pages_; }

  /// From now on a thread keeps the first `ahead` bytes after the last UsedUpTo populated: whoever uses the memory from its start
  /// does not wait for pages.
  void PopulateAhead(uint64_t ahead);
  /// Memory before `offset` is in use. Costs a comparison when that is not news.
  void UsedUpTo(uint64_t offset) noexcept {
    if (offset > used_up_to_) MovePopulateGoal(offset);
  }

  /// Resident bytes as the kernel counts them, -1 when it does not say. Reads /proc/self/smaps: microseconds to
  /// milliseconds.
  int64_t PopulatedBytes() const;

  /// Unmaps, unlinks the shared name, joins the populating thread. Idempotent.
  void Close() noexcept;

 private:
  Status Reserve(uint64_t bytes);
  void AdviseHugePages(bool wanted) noexcept;
  void MovePopulateGoal(uint64_t offset) noexcept;
  void Populate();

  uint8_t* base_ = nullptr;
  uint64_t bytes_ = 0;
  // The whole mapping, with the inaccessible guard pages on both sides.
  void* mapping_ = nullptr;
  uint64_t mapping_bytes_ = 0;
  HugePageState huge_pages_ = HugePageState::kOff;
  std::string shared_path_;
  // Locked while we live: how others see that the shared memory has an owner, however this process ends.
  int shared_file_ = -1;

  uint64_t populate_ahead_ = 0;
  uint64_t used_up_to_ = 0;
  std::thread populating_;
  std::mutex populate_mutex_;
  std::condition_variable populate_change_;
  uint64_t populate_goal_ = 0;   // guarded by populate_mutex_
  bool populate_stop_ = false;   // guarded by populate_mutex_
};

/// Untyped half of LazyArray: reserves zeroed memory. Throws std::bad_alloc.
class LazyMemory {
 public:
  LazyMemory() = default;
  ~LazyMemory();
  LazyMemory(const LazyMemory&) = delete;
  LazyMemory& operator=(const LazyMemory&) = delete;
  void Reserve(uint64_t bytes);
  void Release() noexcept;
  void* data() const noexcept { return data_; }

 private:
  void* data_ = nullptr;
  uint64_t bytes_ = 0;
};

/// A fixed number of zero-initialised T, of which only the touched pages take memory. T must be valid when all zeros.
template <typename T>
class LazyArray {
 public:
  void Reserve(uint64_t count) { memory_.Reserve(count * sizeof(T)); }
  void Release() noexcept { memory_.Release(); }
  T* data() const noexcept { return static_cast<T*>(memory_.data()); }
  T& operator[](uint64_t index) const noexcept { return data()[index]; }

 private:
  LazyMemory memory_;
};

/// Memory that a LazyArray<T> takes when its first `count` elements were touched.
template <typename T>
uint64_t TouchedBytes(uint64_t count) noexcept {
  return (count * sizeof(T) + 4095) / 4096 * 4096;
}

}  // namespace kvferry

#endif  // KVFERRY_CORE_MEMORY_RESERVATION_H_
