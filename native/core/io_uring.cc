#include "io_uring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#define KVFERRY_HAS_IO_URING 1
// Headers older than 5.6 know the rings but not the probe.
#ifndef IO_URING_OP_SUPPORTED
#undef KVFERRY_HAS_IO_URING
#endif
#endif

namespace kvferry {

#ifdef KVFERRY_HAS_IO_URING

namespace {

std::string Refusal(int error, const char* call) {
  // strerrorname_np is younger than our oldest C library; these are the refusals that occur.
  const char* name = nullptr;
  switch (error) {
    case EPERM: name = "EPERM"; break;
    case EACCES: name = "EACCES"; break;
    case ENOSYS: name = "ENOSYS"; break;
    case ENOMEM: name = "ENOMEM"; break;
    case EINVAL: name = "EINVAL"; break;
    case EMFILE: name = "EMFILE"; break;
    case ENFILE: name = "ENFILE"; break;
    case EAGAIN: name = "EAGAIN"; break;
  }
  std::string text = name != nullptr ? std::string(name) : "error " + std::to_string(error);
  text += std::string(" from ") + call;
  rlimit limit{};
  // Kernels before 5.12 charge the rings to RLIMIT_MEMLOCK.
  if (error == ENOMEM && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    text += " (RLIMIT_MEMLOCK is " + std::to_string(limit.rlim_cur) + " bytes)";
  return text;
}

uint32_t LoadAcquire(const uint32_t* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
void StoreRelease(uint32_t* word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

template <class T>
T* At(void* map, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<uint8_t*>(map) + offset);
}

}  // namespace

std::unique_ptr<IoUring> IoUring::Open(const SystemCalls& calls, unsigned entries, std::string* reason) {
  std::unique_ptr<IoUring> uring(new IoUring(calls));
  io_uring_params params;
  memset(&params, 0, sizeof params);
  const int ring = calls.io_uring_setup(entries, &params);
  if (ring < 0) {
    *reason = Refusal(-ring, "io_uring_setup");
    return nullptr;
  }
  uring->ring_ = ring;

  const size_t probe_bytes = sizeof(io_uring_probe) + 256 * sizeof(io_uring_probe_op);
  std::unique_ptr<io_uring_probe, void (*)(void*)> probe(static_cast<io_uring_probe*>(calloc(1, probe_bytes)), free);
  if (probe == nullptr) {
    *reason = "no memory for probing io_uring";
    return nullptr;
  }
  const int probed = calls.io_uring_register(ring, IORING_REGISTER_PROBE, probe.get(), 256);
  if (probed < 0) {
    *reason = Refusal(-probed, "io_uring_register(PROBE)");
    return nullptr;
  }
  for (int opcode : {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_READ}) {
    if (opcode > probe->last_op || (probe->ops[opcode].flags & IO_URING_OP_SUPPORTED) == 0) {
      *reason = "this kernel's io_uring lacks operation " + std::to_string(opcode);
      return nullptr;
    }
  }

  uring->submission_map_bytes_ = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  uring->completion_map_bytes_ = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  uring->entries_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
  auto map = [&](size_t bytes, uint64_t offset) -> void* {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, static_cast<off_t>(offset));
    if (memory != MAP_FAILED) return memory;
    *reason = Refusal(errno, "mmap of the io_uring");
    return nullptr;
  };
  if ((uring->submission_map_ = map(uring->submission_map_bytes_, IORING_OFF_SQ_RING)) == nullptr) return nullptr;
  if ((uring->completion_map_ = map(uring->completion_map_bytes_, IORING_OFF_CQ_RING)) == nullptr) return nullptr;
  if ((uring->entries_ = map(uring->entries_bytes_, IORING_OFF_SQES)) == nullptr) return nullptr;

  void* submission = uring->submission_map_;
  uring->submission_head_ = At<uint32_t>(submission, params.sq_off.head);
  uring->submission_tail_ = At<uint32_t>(submission, params.sq_off.tail);
  uring->submission_mask_ = *At<uint32_t>(submission, params.sq_off.ring_mask);
  uring->submission_array_ = At<uint32_t>(submission, params.sq_off.array);
  uring->submission_entries_ = params.sq_entries;
  void* completion = uring->completion_map_;
  uring->completion_head_ = At<uint32_t>(completion, params.cq_off.head);
  uring->completion_tail_ = At<uint32_t>(completion, params.cq_off.tail);
  uring->completion_mask_ = *At<uint32_t>(completion, params.cq_off.ring_mask);
  uring->completions_ = At<void>(completion, params.cq_off.cqes);
  reason->clear();
  return uring;
}

IoUring::~IoUring() {
  if (submission_map_ != nullptr) munmap(submission_map_, submission_map_bytes_);
  if (completion_map_ != nullptr) munmap(completion_map_, completion_map_bytes_);
  if (entries_ != nullptr) munmap(entries_, entries_bytes_);
  if (ring_ >= 0) close(ring_);
}

void* IoUring::NextEntry() {
  const uint32_t tail = *submission_tail_;
  if (tail - LoadAcquire(submission_head_) >= submission_entries_) return nullptr;
  const uint32_t index = tail & submission_mask_;
  submission_array_[index] = index;
  io_uring_sqe* entry = static_cast<io_uring_sqe*>(entries_) + index;
  memset(entry, 0, sizeof *entry);
  return entry;
}

bool IoUring::QueueVectors(bool write, int file, const iovec* vectors, unsigned count, uint64_t offset, uint64_t user_data) {
  auto* entry = static_cast<io_uring_sqe*>(NextEntry());
  if (entry == nullptr) return false;
  entry->opcode = write ? IORING_OP_WRITEV : IORING_OP_READV;
  entry->fd = file;
  entry->addr = reinterpret_cast<uint64_t>(vectors);
  entry->len = count;
  entry->off = offset;
  entry->user_data = user_data;
  StoreRelease(submission_tail_, *submission_tail_ + 1);
  ++queued_;
  return true;
}

bool IoUring::QueueRead(int file, void* bytes, unsigned count, uint64_t user_data) {
  auto* entry = static_cast<io_uring_sqe*>(NextEntry());
  if (entry == nullptr) return false;
  entry->opcode = IORING_OP_READ;
  entry->fd = file;
  entry->addr = reinterpret_cast<uint64_t>(bytes);
  entry->len = count;
  entry->user_data = user_data;
  StoreRelease(submission_tail_, *submission_tail_ + 1);
  ++queued_;
  return true;
}

int IoUring::Enter(unsigned wait_for) {
  const int submitted = calls_.io_uring_enter(ring_, queued_, wait_for, wait_for > 0 ? IORING_ENTER_GETEVENTS : 0);
  if (submitted < 0) return submitted;
  queued_ -= static_cast<uint32_t>(submitted);
  return 0;
}

bool IoUring::Take(uint64_t* user_data, int32_t* result) {
  const uint32_t head = *completion_head_;
  if (head == LoadAcquire(completion_tail_)) return false;
  const io_uring_cqe& completion = static_cast<const io_uring_cqe*>(completions_)[head & completion_mask_];
  *user_data = completion.user_data;
  *result = completion.res;
  StoreRelease(completion_head_, head + 1);
  return true;
}

#else  // built where the kernel headers have no io_uring

std::unique_ptr<IoUring> IoUring::Open(const SystemCalls&, unsigned, std::string* reason) {
  *reason = "this binary was built without io_uring";
  return nullptr;
}
IoUring::~IoUring() = default;
bool IoUring::QueueVectors(bool, int, const iovec*, unsigned, uint64_t, uint64_t) { return false; }
bool IoUring::QueueRead(int, void*, unsigned, uint64_t) { return false; }
int IoUring::Enter(unsigned) { return -ENOSYS; }
bool IoUring::Take(uint64_t*, int32_t*) { return false; }

#endif

}  // namespace kvferry
