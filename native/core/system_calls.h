// SystemCalls: the calls through which the file path touches the kernel, as a table, so that tests can refuse io_uring as
// containers do (EPERM, ENOSYS, ENOMEM), cut transfers short and fill disks. Each returns what the kernel returns, or -errno.
//
// Thread safety: a table is immutable while an engine uses it.
#ifndef KVFERRY_CORE_SYSTEM_CALLS_H_
#define KVFERRY_CORE_SYSTEM_CALLS_H_

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>

struct io_uring_params;

namespace kvferry {

struct SystemCalls {
  int (*io_uring_setup)(unsigned entries, io_uring_params* params);
  int (*io_uring_enter)(int ring, unsigned to_submit, unsigned min_complete, unsigned flags);
  int (*io_uring_register)(int ring, unsigned opcode, void* argument, unsigned count);
  int (*open_at)(int directory, const char* path, int flags, mode_t mode);
  ssize_t (*preadv)(int file, const iovec* vectors, int count, off_t offset);
  ssize_t (*pwritev)(int file, const iovec* vectors, int count, off_t offset);
  int (*sync_file)(int file);
  int (*link_at)(int from_directory, const char* from, int to_directory, const char* to);
  /// `flags`: RENAME_NOREPLACE or 0.
  int (*rename_at)(int from_directory, const char* from, int to_directory, const char* to, unsigned flags);
};

/// The kernel's own. Never null.
const SystemCalls* KernelCalls() noexcept;

}  // namespace kvferry

#endif  // KVFERRY_CORE_SYSTEM_CALLS_H_
