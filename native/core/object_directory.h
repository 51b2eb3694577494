// ObjectDirectory: one directory of object files on a file system: paths, temporary files, publishing, removal, scanning.
//
//   <base>/tmp/<pid>-<instance>-<n>     files being written; a scan deletes what dead writers left
//   <base>/objects/xx/yy/<identity>     complete objects (object_file.h)
//
// A file appears under objects/ only when it is complete, by one atomic step that never replaces another file: a rename that
// refuses to replace, or a link where the file system has no such rename. The first writer of a key wins. The one exception is
// a damaged file (of the wrong size, or as a writer found by reading it): it can never be loaded, so the next writer takes its place.
//
// A directory has one owner at a time, which the fs adapter's lock sees to; so a temporary file of no live instance of this
// process is a dead writer's. Were the lock to fail, a writer would find its file gone and report a failed store, no more.
//
// Calls answer 0, an item status (engine.h) or -errno.
//
// Thread safety: every method may be called from any thread, but Open from the owner's.
#ifndef KVFERRY_CORE_OBJECT_DIRECTORY_H_
#define KVFERRY_CORE_OBJECT_DIRECTORY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "object_file.h"
#include "status.h"
#include "system_calls.h"

namespace kvferry {

enum class DirectIo { kAuto, kOn, kOff };

struct ScanRows {
  std::vector<FileIdentity> identities;
  std::vector<double> file_bytes;
  std::vector<double> modified_ms;
  uint64_t temporary_deleted = 0;
  /// Files and directories below objects/ that are none of ours; left alone.
  uint64_t foreign_files = 0;
};

/// A file descriptor that closes itself.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int file) : file_(file) {}
  ~FileHandle() { Close(); }
  FileHandle(FileHandle&& other) noexcept : file_(other.Release()) {}
  FileHandle& operator=(FileHandle&& other) noexcept;
  int get() const noexcept { return file_; }
  int Release() noexcept;
  /// 0 or -errno: some file systems tell of a failed write only here.
  int Close() noexcept;

 private:
  int file_ = -1;
};

class ObjectDirectory {
 public:
  static Status Open(const std::string& base_path, DirectIo direct_io, bool fsync, const SystemCalls* calls, std::shared_ptr<ObjectDirectory>* directory);
  ~ObjectDirectory();
  ObjectDirectory(const ObjectDirectory&) = delete;
  ObjectDirectory& operator=(const ObjectDirectory&) = delete;

  const SystemCalls& calls() const noexcept { return calls_; }
  bool direct_io() const noexcept { return direct_io_; }
  /// Why O_DIRECT is or is not used, in words.
  const std::string& direct_io_reason() const noexcept { return direct_io_reason_; }

  /// A new file for writing; 0 or -errno.
  int OpenTemporary(std::string* name, FileHandle* file);
  void RemoveTemporary(const std::string& name);
  /// Makes a complete temporary file the object `identity`. The temporary name is gone afterwards, whatever the answer:
  /// 0, kAlreadyPresent or -errno. With `replace`, whatever lies under the object's name gives way.
  int Publish(const std::string& name, const FileIdentity& identity, uint64_t file_bytes, bool replace = false);
  /// kAlreadyPresent when a file of this size is published, else 0.
  int CheckPublished(const FileIdentity& identity, uint64_t file_bytes);
  /// Flushes a written file when the directory was opened with fsync. 0 or -errno.
  int Sync(int file);

  /// 0, kMissing, kCorrupt (not a regular file) or -errno.
  int OpenObject(const FileIdentity& identity, FileHandle* file, uint64_t* file_bytes);
  /// A descriptor to read the file under the object's name, whatever it is, without O_DIRECT; or -errno.
  int OpenForInspection(const FileIdentity& identity);
  /// 0, kMissing or -errno.
  int Remove(const uint8_t* identity);
  /// Rows of the first-level directories first..first+count-1; with shard 0, dead writers' temporary files are deleted.
  int Scan(uint32_t first_shard, uint32_t shard_count, ScanRows* rows);

 private:
  ObjectDirectory(const SystemCalls* calls, bool fsync) : calls_(*calls), fsync_(fsync) {}
  Status ProbeDirectIo(DirectIo wanted);
  int TryDirectIo(std::string* what);
  int MakeDirectory(const std::string& path);
  int MakeShards(const FileIdentity& identity);
  int PublishFirst(const std::string& temporary, const std::string& object);
  int SyncDirectory(const std::string& path);
  int ScanShard(uint32_t shard, ScanRows* rows);
  void DeleteDeadTemporaries(ScanRows* rows);

  const SystemCalls& calls_;
  const bool fsync_;
  FileHandle base_;
  bool direct_io_ = false;
  std::string direct_io_reason_;
  /// In every temporary name, so that two instances of one process never meet.
  std::string instance_;
  std::atomic<uint64_t> next_temporary_{1};
  std::atomic<bool> rename_refused_{false};
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_OBJECT_DIRECTORY_H_
