#include "file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <map>
#include <mutex>

namespace kvferry {
namespace {

/// Handles and their files. A handle is not the descriptor itself: a wrong one must not close somebody else's file.
struct Locks {
  std::mutex mutex;
  std::map<int32_t, int> files;
  int32_t next = 1;
};

Locks& AllLocks() {
  // Never destroyed: a worker thread may unlock while the process ends.
  static Locks* locks = new Locks;
  return *locks;
}

/// A locked descriptor, or -errno.
int OpenLocked(const std::string& path, int access) {
  const int file = open(path.c_str(), access | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return -errno;
  int result;
  do {
    result = flock(file, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return file;
  const int error = errno;
  close(file);
  return -error;
}

}  // namespace

int32_t LockFile(const std::string& path) {
  // Read-only first: a descriptor for writing would keep an administrator from remounting the disk read-only. NFS, which makes
  // byte-range locks of flock, wants it for writing and says EBADF.
  int file = OpenLocked(path, O_RDONLY);
  if (file == -EBADF) file = OpenLocked(path, O_RDWR);
  if (file < 0) return file;
  Locks& locks = AllLocks();
  std::lock_guard<std::mutex> guard(locks.mutex);
  const int32_t handle = locks.next++;
  locks.files.emplace(handle, file);
  return handle;
}

bool UnlockFile(int32_t handle) {
  Locks& locks = AllLocks();
  std::lock_guard<std::mutex> guard(locks.mutex);
  const auto found = locks.files.find(handle);
  if (found == locks.files.end()) return false;
  close(found->second);
  locks.files.erase(found);
  return true;
}

}  // namespace kvferry
