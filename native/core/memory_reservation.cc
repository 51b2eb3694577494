#include "memory_reservation.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <new>
#include <system_error>

#include "worker_thread.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace kvferry {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;
// Populated per madvise call, a millisecond's work at most: whoever maps memory meanwhile, V8 included, waits for its end.
constexpr uint64_t kPopulatePieceBytes = uint64_t{4} << 20;
constexpr uint64_t kAllocatePieceBytes = uint64_t{64} << 20;
constexpr uint64_t kAllocateLeastPieceBytes = uint64_t{64} << 10;

// The sticky bit, which means nothing on a file, marks shared memory of ours: whatever else lies in /dev/shm is never deleted.
constexpr mode_t kSharedMode = 0600 | S_ISVTX;
// Two processes that start at once with a dead owner's name can disturb each other this often before one gives up.
constexpr int kMostSharedAttempts = 100;

bool TryLock(int fd) noexcept {
  int result;
  do {
    result = flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

bool StillNamed(int fd) noexcept {
  struct stat info;
  return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

/// Deletes the shared memory `path` when its owner is dead. Ok also when somebody else did.
Status RemoveDeadShared(const std::string& path) {
  const int fd = shm_open(path.c_str(), O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return errno == ENOENT ? Status() : Status::System("opening the shared memory " + path, errno);
  struct stat info;
  Status status;
  if (fstat(fd, &info) != 0) {
    status = Status::System("looking at the shared memory " + path, errno);
  } else if ((info.st_mode & S_ISVTX) == 0) {
    status = Status::NameTaken("sharedName: the shared memory " + path + " exists and is not kvferry's; choose another name, or delete /dev/shm" + path);
  } else if (!TryLock(fd)) {
    status = Status::NameTaken("sharedName: the shared memory " + path + " is held by a live process; choose another name, or end that process");
  } else if (StillNamed(fd)) {
    // Only who holds the lock deletes, so the name still means this very object.
    if (shm_unlink(path.c_str()) != 0) status = Status::System("deleting the shared memory " + path + ", whose owner is dead", errno);
  }
  close(fd);
  return status;
}

/// Creates and locks the shared memory `path`, in place of one whose owner is dead.
Status CreateShared(const std::string& path, int* created) {
  for (int attempt = 0; attempt < kMostSharedAttempts; ++attempt) {
    const int fd = shm_open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, kSharedMode);
    if (fd >= 0) {
      // Between these two calls somebody may have taken us for dead.
      if (TryLock(fd) && StillNamed(fd)) {
        *created = fd;
        return {};
      }
      close(fd);
      continue;
    }
    if (errno != EEXIST) return Status::System("creating the shared memory " + path, errno);
    Status status = RemoveDeadShared(path);
    if (!status.ok()) return status;
  }
  return Status::NameTaken("sharedName: several processes are taking over the shared memory " + path + " at once");
}

std::string BytesText(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

/// posix_fallocate in pieces, so that a small file system gives what it has. Returns the bytes allocated.
uint64_t AllocateFile(int fd, uint64_t bytes, MemoryReservation::AllocateCall allocate, int* error_number) {
  uint64_t done = 0;
  uint64_t piece = kAllocatePieceBytes;
  *error_number = 0;
  while (done < bytes) {
    const uint64_t want = std::min(piece, bytes - done);
    const int error = allocate(fd, static_cast<off_t>(done), static_cast<off_t>(want));
    if (error == EINTR) continue;
    if (error == 0) {
      done += want;
      continue;
    }
    *error_number = error;
    if (error != ENOSPC && error != ENOMEM) return done;
    if (piece <= kAllocateLeastPieceBytes) break;
    piece /= 2;
  }
  return done;
}

/// For kernels without MADV_POPULATE_WRITE (before 5.14): an atomic "or 0" per page populates it and cannot lose a byte that
/// another thread writes at the same moment.
void TouchPages(uint8_t* data, uint64_t bytes) noexcept {
  for (uint64_t offset = 0; offset < bytes; offset += kPageBytes) __atomic_fetch_or(data + offset, uint8_t{0}, __ATOMIC_RELAXED);
}

}  // namespace

Status MemoryReservation::Reserve(uint64_t bytes) {
  // A guard page on each side turns a write past the end into a fault and keeps the kernel from merging the arena with other
  // mappings, which would spoil PopulatedBytes. A start on a huge page boundary lets huge pages begin with the first byte.
  const uint64_t alignment = bytes >= kHugePageBytes ? kHugePageBytes : kPageBytes;
  mapping_bytes_ = bytes + alignment + 2 * kPageBytes;
  mapping_ = mmap(nullptr, mapping_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED) {
    const int error = errno;
    mapping_ = nullptr;
    return Status::System("reserving " + BytesText(bytes) + " of address space", error);
  }
  const uintptr_t first = reinterpret_cast<uintptr_t>(mapping_) + kPageBytes;
  base_ = reinterpret_cast<uint8_t*>((first + alignment - 1) / alignment * alignment);
  bytes_ = bytes;
  return {};
}

Status MemoryReservation::OpenPrivate(uint64_t bytes, bool huge_pages) {
  Status status = Reserve(bytes);
  if (!status.ok()) return status;
  if (mprotect(base_, bytes, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    Close();
    return Status::System("mapping " + BytesText(bytes), error);
  }
  // Node starts child processes with fork: without this a page under DMA or O_DIRECT could be copied on write and the
  // transfer end up in the child's copy. A core dump of the arena helps nobody. Both are wishes; old kernels may refuse.
  (void)madvise(base_, bytes, MADV_DONTFORK);
  (void)madvise(base_, bytes, MADV_DONTDUMP);
  AdviseHugePages(huge_pages);
  return {};
}

Status MemoryReservation::OpenShared(const std::string& name, uint64_t bytes, uint64_t least_bytes, bool huge_pages, AllocateCall allocate) {
  if (name.empty() || name.size() > 250 || name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
    return Status::InvalidArgument("sharedName is \"" + name + "\"; a name of 1 to 250 characters without '/' is wanted");
  }
  const std::string path = "/" + name;
  Status status = CreateShared(path, &shared_file_);
  if (!status.ok()) return status;
  const int fd = shared_file_;
  shared_path_ = path;

  int allocation_error = 0;
  const uint64_t allocated = AllocateFile(fd, bytes, allocate != nullptr ? allocate : posix_fallocate, &allocation_error) / kPageBytes * kPageBytes;
  if (allocated < bytes && (allocated < least_bytes || (allocation_error != ENOSPC && allocation_error != ENOMEM))) {
    Close();
    return Status::System("allocating " + BytesText(bytes) + " of shared memory " + path + " (" + BytesText(allocated) + " could be had)", allocation_error);
  }
  status = ftruncate(fd, static_cast<off_t>(allocated)) == 0 ? Reserve(allocated) : Status::System("sizing the shared memory " + path, errno);
  if (status.ok() && mmap(base_, allocated, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    status = Status::System("mapping the shared memory " + path, errno);
  }
  if (!status.ok()) {
    Close();
    return status;
  }
  (void)madvise(base_, allocated, MADV_DONTDUMP);
  AdviseHugePages(huge_pages);
  return {};
}

void MemoryReservation::AdviseHugePages(bool wanted) noexcept {
  if (!wanted || bytes_ < kHugePageBytes) {
    huge_pages_ = HugePageState::kOff;
    return;
  }
  huge_pages_ = madvise(base_, bytes_, MADV_HUGEPAGE) == 0 ? HugePageState::kOn : HugePageState::kRefused;
}

void MemoryReservation::PopulateAhead(uint64_t ahead) {
  populate_ahead_ = ahead;
  populate_goal_ = std::min(ahead, bytes_);
  populate_stop_ = false;
  try {
    populating_ = std::thread(&MemoryReservation::Populate, this);
  } catch (const std::system_error&) {
    // Populating is a favour: without the thread, pages come at first touch.
    used_up_to_ = UINT64_MAX;
  }
}

void MemoryReservation::MovePopulateGoal(uint64_t offset) noexcept {
  used_up_to_ = offset;
  if (!populating_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(populate_mutex_);
    populate_goal_ = std::min(offset + std::min(populate_ahead_, bytes_), bytes_);
  }
  populate_change_.notify_one();
}

void MemoryReservation::Populate() {
  BecomeWorker("kvferry-pages");
  std::unique_lock<std::mutex> lock(populate_mutex_);
  for (uint64_t next = 0; next < bytes_;) {
    populate_change_.wait(lock, [&] { return populate_stop_ || next < populate_goal_; });
    if (populate_stop_) return;
    const uint64_t piece = std::min(kPopulatePieceBytes, bytes_ - next);
    lock.unlock();
    // EINVAL: the kernel does not know the call. Anything else (no memory left) is left to the first touch.
    if (madvise(base_ + next, piece, MADV_POPULATE_WRITE) != 0 && errno == EINVAL) TouchPages(base_ + next, piece);
    next += piece;
    lock.lock();
  }
}

int64_t MemoryReservation::PopulatedBytes() const {
  if (base_ == nullptr) return 0;
  std::unique_ptr<FILE, int (*)(FILE*)> file(fopen("/proc/self/smaps", "re"), fclose);
  if (!file) return -1;
  const uint64_t first = reinterpret_cast<uintptr_t>(base_);
  const uint64_t end = first + bytes_;
  int64_t populated = -1;
  bool ours = false;
  char line[512];
  while (fgets(line, sizeof line, file.get()) != nullptr) {
    uint64_t area_first = 0;
    uint64_t area_end = 0;
    uint64_t kibibytes = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &area_first, &area_end) == 2) {
      if (area_first >= end) break;
      ours = area_first >= first && area_end <= end;
      if (ours && populated < 0) populated = 0;
    } else if (ours && sscanf(line, "Rss: %" SCNu64 " kB", &kibibytes) == 1) {
      populated += static_cast<int64_t>(kibibytes) * 1024;
    }
  }
  return populated;
}

void MemoryReservation::Close() noexcept {
  if (populating_.joinable()) {
    {
      std::lock_guard<std::mutex> lock(populate_mutex_);
      populate_stop_ = true;
    }
    populate_change_.notify_one();
    populating_.join();
  }
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
  // The lock goes last: whoever has it may delete the name.
  if (!shared_path_.empty()) shm_unlink(shared_path_.c_str());
  if (shared_file_ >= 0) close(shared_file_);
  shared_file_ = -1;
  mapping_ = nullptr;
  base_ = nullptr;
  bytes_ = 0;
  shared_path_.clear();
}

LazyMemory::~LazyMemory() { Release(); }

void LazyMemory::Reserve(uint64_t bytes) {
  Release();
  data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    throw std::bad_alloc();
  }
  bytes_ = bytes;
  // A huge page here would be populated for one touched word.
  (void)madvise(data_, bytes, MADV_NOHUGEPAGE);
}

void LazyMemory::Release() noexcept {
  if (data_ != nullptr) munmap(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace kvferry
