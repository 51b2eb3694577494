#include "object_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mutex>
#include <set>
#include <utility>

#include "engine.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

namespace kvferry {
namespace {

constexpr char kTemporaryDirectory[] = "tmp";
constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;

/// Instances of this process that may be writing now.
class LiveInstances {
 public:
  static LiveInstances& Get() {
    // Never destroyed: worker threads may outlive static destruction.
    static LiveInstances* instances = new LiveInstances;
    return *instances;
  }
  void Add(const std::string& instance) {
    std::lock_guard<std::mutex> lock(mutex_);
    live_.insert(instance);
  }
  void Remove(const std::string& instance) {
    std::lock_guard<std::mutex> lock(mutex_);
    live_.erase(instance);
  }
  bool Has(const std::string& instance) {
    std::lock_guard<std::mutex> lock(mutex_);
    return live_.count(instance) != 0;
  }

 private:
  std::mutex mutex_;
  std::set<std::string> live_;
};

std::string RandomHex() {
  uint8_t bytes[8] = {};
  // Cannot fail for 8 bytes once the kernel's pool is ready, and it waits until it is.
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) abort();
  return ToHex(bytes, sizeof bytes);
}

/// The instance in a temporary file's name; empty when it is no such name.
std::string InstanceOf(const std::string& name) {
  const size_t first = name.find('-');
  const size_t second = name.find('-', first + 1);
  if (first == 0 || first == std::string::npos || second != first + 17 || name.find_first_not_of("0123456789-", 0) < first) return "";
  return name.substr(first + 1, 16);
}

bool IsRefused(int result) { return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP || result == -EPERM; }

struct DirectoryStream {
  explicit DirectoryStream(int file) : stream(file >= 0 ? fdopendir(file) : nullptr) {
    if (stream == nullptr && file >= 0) close(file);
  }
  ~DirectoryStream() {
    if (stream != nullptr) closedir(stream);
  }
  /// The next entry but "." and ".."; null at the end.
  dirent* Next() {
    while (dirent* entry = readdir(stream)) {
      if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) return entry;
    }
    return nullptr;
  }
  DIR* stream;
};

std::string ShardHex(uint32_t shard) {
  const uint8_t byte = static_cast<uint8_t>(shard);
  return ToHex(&byte, 1);
}

}  // namespace

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    Close();
    file_ = other.Release();
  }
  return *this;
}

int FileHandle::Release() noexcept { return std::exchange(file_, -1); }

int FileHandle::Close() noexcept {
  if (file_ < 0) return 0;
  // The descriptor is gone even after EINTR (close(2)).
  return close(Release()) < 0 && errno != EINTR ? -errno : 0;
}

Status ObjectDirectory::Open(const std::string& base_path, DirectIo direct_io, bool fsync, const SystemCalls* calls, std::shared_ptr<ObjectDirectory>* directory) {
  std::shared_ptr<ObjectDirectory> opened(new ObjectDirectory(calls != nullptr ? calls : KernelCalls(), fsync));
  opened->instance_ = RandomHex();
  LiveInstances::Get().Add(opened->instance_);
  const int base = open(base_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (base < 0) return Status::System("basePath: opening the directory " + base_path, errno);
  opened->base_ = FileHandle(base);
  for (const char* name : {"objects", kTemporaryDirectory}) {
    if (const int result = opened->MakeDirectory(name); result < 0) return Status::System("basePath: making the directory " + base_path + "/" + name, -result);
  }
  Status status = opened->ProbeDirectIo(direct_io);
  if (status.ok()) *directory = std::move(opened);
  return status;
}

ObjectDirectory::~ObjectDirectory() { LiveInstances::Get().Remove(instance_); }

Status ObjectDirectory::ProbeDirectIo(DirectIo wanted) {
  if (wanted == DirectIo::kOff) {
    direct_io_reason_ = "asked for buffered I/O";
    return {};
  }
  std::string what;
  const int result = TryDirectIo(&what);
  if (result == 0) {
    direct_io_ = true;
    direct_io_reason_ = "O_DIRECT works here";
    return {};
  }
  if (result == -ENOSPC || result == -EDQUOT) {
    // A full disk still serves loads. Which mode it takes can only be guessed, and most take O_DIRECT.
    direct_io_ = true;
    direct_io_reason_ = "assumed: " + std::string(strerror(-result)) + " from " + what;
    return {};
  }
  // Only these say that O_DIRECT itself is refused; a read-only disk must not be taken for a choice of mode.
  if (result != -EINVAL && result != -EOPNOTSUPP) return Status::System("basePath: " + what, -result);
  direct_io_reason_ = std::string(strerror(-result)) + " from " + what;
  if (wanted == DirectIo::kOn) return Status::OutOfRange("directIo is \"on\", which this file system refuses (" + direct_io_reason_ + "); \"auto\" and \"off\" work here");
  return {};
}

/// Some file systems take O_DIRECT at open and refuse the transfer, so one page goes there and back.
int ObjectDirectory::TryDirectIo(std::string* what) {
  std::unique_ptr<void, void (*)(void*)> page(aligned_alloc(kObjectPageBytes, kObjectPageBytes), free);
  if (page == nullptr) return -ENOMEM;
  memset(page.get(), 0, kObjectPageBytes);
  const std::string path = std::string(kTemporaryDirectory) + "/" + std::to_string(getpid()) + "-" + instance_ + "-0";
  *what = "opening a file in tmp/ with O_DIRECT";
  FileHandle file(calls_.open_at(base_.get(), path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_DIRECT, kFileMode));
  int result = file.get();
  if (result >= 0) {
    const iovec vector{page.get(), kObjectPageBytes};
    *what = "writing a page with O_DIRECT";
    ssize_t moved = calls_.pwritev(file.get(), &vector, 1, 0);
    if (moved == static_cast<ssize_t>(kObjectPageBytes)) {
      *what = "reading a page with O_DIRECT";
      moved = calls_.preadv(file.get(), &vector, 1, 0);
    }
    result = moved < 0 ? static_cast<int>(moved) : moved == static_cast<ssize_t>(kObjectPageBytes) ? 0 : -EIO;
  }
  // Linux leaves the file behind when the file system refuses O_DIRECT after creating it.
  unlinkat(base_.get(), path.c_str(), 0);
  return result;
}

int ObjectDirectory::MakeDirectory(const std::string& path) { return mkdirat(base_.get(), path.c_str(), kDirectoryMode) == 0 || errno == EEXIST ? 0 : -errno; }

int ObjectDirectory::OpenTemporary(std::string* name, FileHandle* file) {
  *name = std::to_string(getpid()) + "-" + instance_ + "-" + std::to_string(next_temporary_.fetch_add(1, std::memory_order_relaxed));
  const std::string path = std::string(kTemporaryDirectory) + "/" + *name;
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | (direct_io_ ? O_DIRECT : 0);
  int result = calls_.open_at(base_.get(), path.c_str(), flags, kFileMode);
  if (result == -ENOENT && MakeDirectory(kTemporaryDirectory) == 0) result = calls_.open_at(base_.get(), path.c_str(), flags, kFileMode);
  if (result < 0) return result;
  *file = FileHandle(result);
  return 0;
}

void ObjectDirectory::RemoveTemporary(const std::string& name) { unlinkat(base_.get(), (std::string(kTemporaryDirectory) + "/" + name).c_str(), 0); }

int ObjectDirectory::CheckPublished(const FileIdentity& identity, uint64_t file_bytes) {
  struct stat status;
  if (fstatat(base_.get(), ObjectPath(identity.data()).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  return S_ISREG(status.st_mode) && static_cast<uint64_t>(status.st_size) == file_bytes ? item_status::kAlreadyPresent : 0;
}

/// The atomic step. 0, -EEXIST when the name is taken, or another -errno.
int ObjectDirectory::PublishFirst(const std::string& temporary, const std::string& object) {
  if (!rename_refused_.load(std::memory_order_relaxed)) {
    const int renamed = calls_.rename_at(base_.get(), temporary.c_str(), base_.get(), object.c_str(), RENAME_NOREPLACE);
    if (!IsRefused(renamed)) return renamed;
    rename_refused_.store(true, std::memory_order_relaxed);
  }
  const int linked = calls_.link_at(base_.get(), temporary.c_str(), base_.get(), object.c_str());
  if (linked == 0) unlinkat(base_.get(), temporary.c_str(), 0);
  if (!IsRefused(linked)) return linked;
  // Neither exists (FAT, some FUSE file systems): the name was free a moment ago, and two writers of one key have equal bytes.
  if (faccessat(base_.get(), object.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return -EEXIST;
  return calls_.rename_at(base_.get(), temporary.c_str(), base_.get(), object.c_str(), 0);
}

int ObjectDirectory::Publish(const std::string& name, const FileIdentity& identity, uint64_t file_bytes, bool replace) {
  const std::string temporary = std::string(kTemporaryDirectory) + "/" + name;
  const std::string object = ObjectPath(identity.data());
  int result = PublishFirst(temporary, object);
  if (result == -ENOENT) {
    result = MakeShards(identity);
    if (result == 0) result = PublishFirst(temporary, object);
  }
  if (result == -EEXIST) {
    result = replace ? 0 : CheckPublished(identity, file_bytes);
    if (result == 0) result = calls_.rename_at(base_.get(), temporary.c_str(), base_.get(), object.c_str(), 0);
  }
  if (result != 0) {
    RemoveTemporary(name);
    return result;
  }
  return fsync_ ? SyncDirectory(object.substr(0, object.rfind('/'))) : 0;
}

int ObjectDirectory::MakeShards(const FileIdentity& identity) {
  const std::string first = "objects/" + ToHex(identity.data(), 1);
  const std::string second = first + "/" + ToHex(identity.data() + 1, 1);
  for (const std::string& path : {std::string("objects"), first, second}) {
    if (const int result = MakeDirectory(path); result < 0) return result;
  }
  if (!fsync_) return 0;
  for (const std::string& path : {std::string("."), std::string("objects"), first}) {
    if (const int result = SyncDirectory(path); result < 0) return result;
  }
  return 0;
}

int ObjectDirectory::Sync(int file) { return fsync_ ? calls_.sync_file(file) : 0; }

int ObjectDirectory::SyncDirectory(const std::string& path) {
  FileHandle directory(openat(base_.get(), path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory.get() < 0 ? -errno : calls_.sync_file(directory.get());
}

int ObjectDirectory::OpenObject(const FileIdentity& identity, FileHandle* file, uint64_t* file_bytes) {
  // O_NONBLOCK: a FIFO under an object's name must not stop a thread for ever.
  const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (direct_io_ ? O_DIRECT : 0);
  const int opened = calls_.open_at(base_.get(), ObjectPath(identity.data()).c_str(), flags, 0);
  if (opened == -ENOENT) return item_status::kMissing;
  if (opened == -ELOOP) return item_status::kCorrupt;
  if (opened == -EINVAL && direct_io_) {
    // A device or FIFO there refuses O_DIRECT; regular files of this file system do not.
    struct stat named;
    if (fstatat(base_.get(), ObjectPath(identity.data()).c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(named.st_mode)) return item_status::kCorrupt;
  }
  if (opened < 0) return opened;
  *file = FileHandle(opened);
  struct stat status;
  if (fstat(opened, &status) != 0) return -errno;
  if (!S_ISREG(status.st_mode)) return item_status::kCorrupt;
  *file_bytes = static_cast<uint64_t>(status.st_size);
  return 0;
}

int ObjectDirectory::OpenForInspection(const FileIdentity& identity) {
  return calls_.open_at(base_.get(), ObjectPath(identity.data()).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
}

int ObjectDirectory::Remove(const uint8_t* identity) {
  if (unlinkat(base_.get(), ObjectPath(identity).c_str(), 0) == 0) return 0;
  return errno == ENOENT ? item_status::kMissing : -errno;
}

int ObjectDirectory::Scan(uint32_t first_shard, uint32_t shard_count, ScanRows* rows) {
  if (first_shard == 0) DeleteDeadTemporaries(rows);
  for (uint32_t shard = first_shard; shard < first_shard + shard_count; ++shard) {
    if (const int result = ScanShard(shard, rows); result < 0) return result;
  }
  return 0;
}

int ObjectDirectory::ScanShard(uint32_t shard, ScanRows* rows) {
  const std::string first = "objects/" + ShardHex(shard);
  DirectoryStream shards(openat(base_.get(), first.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (shards.stream == nullptr) return errno == ENOENT ? 0 : -errno;
  while (dirent* second = shards.Next()) {
    const std::string path = first + "/" + second->d_name;
    DirectoryStream objects(openat(base_.get(), path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (objects.stream == nullptr) {
      ++rows->foreign_files;
      continue;
    }
    while (dirent* entry = objects.Next()) {
      FileIdentity identity;
      struct stat status;
      const bool ours = ParseObjectName(entry->d_name, &identity) && ObjectPath(identity.data()) == path + "/" + entry->d_name &&
                        fstatat(dirfd(objects.stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode);
      if (!ours) {
        ++rows->foreign_files;
        continue;
      }
      rows->identities.push_back(identity);
      rows->file_bytes.push_back(static_cast<double>(status.st_size));
      rows->modified_ms.push_back(static_cast<double>(status.st_mtim.tv_sec) * 1e3 + static_cast<double>(status.st_mtim.tv_nsec / 1000) / 1e3);
    }
  }
  return 0;
}

void ObjectDirectory::DeleteDeadTemporaries(ScanRows* rows) {
  DirectoryStream temporaries(openat(base_.get(), kTemporaryDirectory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (temporaries.stream == nullptr) return;
  while (dirent* entry = temporaries.Next()) {
    const std::string instance = InstanceOf(entry->d_name);
    if (instance.empty()) {
      ++rows->foreign_files;
    } else if (!LiveInstances::Get().Has(instance) && unlinkat(dirfd(temporaries.stream), entry->d_name, 0) == 0) {
      ++rows->temporary_deleted;
    }
  }
}

}  // namespace kvferry
