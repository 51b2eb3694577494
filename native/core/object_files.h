// ObjectFiles: slots to object files and back, as operations of the engine.
//
// A store writes a slot as a complete, checksummed, published object; the checksum is the one that whoever filled the slot
// left there (computed only where none is known), so a bit that flips in memory after that is found at the next load. A load
// compares the file's size with the slot before a byte is read, then verifies header, key and payload; only then does the slot
// get its checksum and the item status 0.
//
// Thread safety: the owner thread of the engine. Running operations keep what they need; Close does not wait for them.
#ifndef KVFERRY_CORE_OBJECT_FILES_H_
#define KVFERRY_CORE_OBJECT_FILES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "arena.h"
#include "engine.h"
#include "file_engine.h"
#include "object_directory.h"
#include "object_file.h"
#include "status.h"

namespace kvferry {

struct ObjectFilesOptions {
  std::string base_path;
  DirectIo direct_io = DirectIo::kAuto;
  bool fsync = false;
};

/// What one file is, for people. `problem` is empty when it is intact.
struct ObjectFileReport {
  std::string problem;
  ObjectHeader header;
  uint64_t file_bytes = 0;
};

/// Reads and verifies an open file, whatever its name. Synchronous; `file` must not be open with O_DIRECT.
ObjectFileReport InspectOpenFile(const SystemCalls& calls, int file);

/// Reads and verifies one file of any directory, its name included, without engine or lock. Synchronous.
ObjectFileReport InspectObjectFile(const std::string& path);

class ObjectFiles {
 public:
  /// `calls` is for tests; it must outlive the engine.
  static Status Open(std::shared_ptr<Engine> engine, const ObjectFilesOptions& options, std::unique_ptr<ObjectFiles>* files, const SystemCalls* calls = nullptr);
  ObjectFiles(const ObjectFiles&) = delete;
  ObjectFiles& operator=(const ObjectFiles&) = delete;

  /// Only before Close.
  ObjectDirectory& directory() noexcept { return *directory_; }
  struct DirectIo {
    bool used = false;
    std::string reason;
  };
  /// After Close: as it was then.
  DirectIo direct_io() const;

  /// Records of namespace `id` may be used from here on. Registering the same again is free; another digest is refused.
  Status RegisterNamespace(uint32_t id, const Digest& digest, std::string description);

  /// 16 bytes per record.
  Status Digests(const uint8_t* records, size_t record_bytes, uint8_t* out) const;

  Status Store(uint32_t op_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, const uint8_t* records, size_t record_bytes);
  Status Load(uint32_t op_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, const uint8_t* records, size_t record_bytes);
  Status Remove(uint32_t op_id, const uint8_t* identities, size_t identity_bytes);
  Status Scan(uint32_t op_id, uint32_t first_shard, uint32_t shard_count);
  /// The rows of a finished scan, once.
  Status TakeScan(uint32_t op_id, ScanRows* rows);

  /// Starts nothing more and lets go of the directory, whose descriptors close with the last running operation. Idempotent.
  void Close();
  bool closed() const noexcept { return closed_; }

 private:
  struct Namespace {
    Digest digest;
    std::string description;
  };
  struct Scans {
    std::mutex mutex;
    std::map<uint32_t, ScanRows> finished;  // guarded by mutex
  };
  class StoreTask;
  class LoadTask;
  class RemoveJob;
  class ScanJob;

  ObjectFiles(std::shared_ptr<Engine> engine, FileEngine* files, std::shared_ptr<ObjectDirectory> directory)
      : engine_(std::move(engine)), files_(files), directory_(std::move(directory)), scans_(std::make_shared<Scans>()) {}

  struct KeyedObject {
    DiskKey key;
    std::shared_ptr<const Namespace> name;
  };
  Status CheckOpen() const;
  Status KeysOf(const uint8_t* records, size_t record_bytes, std::vector<KeyedObject>* keys) const;
  template <class Task>
  Status Start(SlotAccess access, uint32_t op_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, const uint8_t* records, size_t record_bytes);

  std::shared_ptr<Engine> engine_;
  FileEngine* files_;
  std::shared_ptr<ObjectDirectory> directory_;
  std::shared_ptr<Scans> scans_;
  std::map<uint32_t, std::shared_ptr<const Namespace>> namespaces_;
  bool closed_ = false;
  DirectIo last_direct_io_;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_OBJECT_FILES_H_
