// IoUring: a submission and a completion queue shared with the kernel, over raw system calls.
//
// Only what the file path needs: READV and WRITEV, READ for the wake-up. Refusals are ordinary here (containers forbid
// io_uring more often than not), so Open says in words which call was refused and why.
//
// Thread safety: one thread at a time.
#ifndef KVFERRY_CORE_IO_URING_H_
#define KVFERRY_CORE_IO_URING_H_

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string>

#include "system_calls.h"

namespace kvferry {

class IoUring {
 public:
  /// Null when the kernel refuses; `*reason` then says what, for example "EPERM from io_uring_setup".
  static std::unique_ptr<IoUring> Open(const SystemCalls& calls, unsigned entries, std::string* reason);
  ~IoUring();
  IoUring(const IoUring&) = delete;
  IoUring& operator=(const IoUring&) = delete;

  /// Queue one operation; false when the submission queue is full. `vectors` must stay until the completion.
  bool QueueVectors(bool write, int file, const iovec* vectors, unsigned count, uint64_t offset, uint64_t user_data);
  bool QueueRead(int file, void* bytes, unsigned count, uint64_t user_data);

  /// Hands what is queued to the kernel and waits for at least `wait_for` completions. 0 or -errno (-EINTR, -EAGAIN, -EBUSY
  /// mean: take completions and try again).
  int Enter(unsigned wait_for);

  /// Takes one completion; false when there is none.
  bool Take(uint64_t* user_data, int32_t* result);

 private:
  explicit IoUring(const SystemCalls& calls) : calls_(calls) {}
  void* NextEntry();

  const SystemCalls& calls_;
  int ring_ = -1;
  void* submission_map_ = nullptr;
  size_t submission_map_bytes_ = 0;
  void* completion_map_ = nullptr;
  size_t completion_map_bytes_ = 0;
  void* entries_ = nullptr;
  size_t entries_bytes_ = 0;

  uint32_t* submission_head_ = nullptr;
  uint32_t* submission_tail_ = nullptr;
  uint32_t submission_mask_ = 0;
  uint32_t submission_entries_ = 0;
  uint32_t* submission_array_ = nullptr;
  uint32_t* completion_head_ = nullptr;
  uint32_t* completion_tail_ = nullptr;
  uint32_t completion_mask_ = 0;
  void* completions_ = nullptr;
  uint32_t queued_ = 0;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_IO_URING_H_
