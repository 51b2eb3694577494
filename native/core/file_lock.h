// LockFile and UnlockFile: the kernel's exclusive lock on a file (flock), for "one directory, one owner". The kernel lets go of
// it when its holder ends in any way, across containers on one host; nothing has to be believed about process ids.
//
// Thread safety: from any thread.
#ifndef KVFERRY_CORE_FILE_LOCK_H_
#define KVFERRY_CORE_FILE_LOCK_H_

#include <cstdint>
#include <string>

namespace kvferry {

/// Takes the lock of the file, made with mode 0600 when it is not there. A handle of 1 or more, or -errno: -EWOULDBLOCK when
/// somebody holds it (also this process), -ENOLCK or -EOPNOTSUPP where the file system has no locks.
int32_t LockFile(const std::string& path);

/// Gives back a handle of LockFile. False (and nothing happens) when it is none, or was given back.
bool UnlockFile(int32_t handle);

}  // namespace kvferry

#endif  // KVFERRY_CORE_FILE_LOCK_H_
