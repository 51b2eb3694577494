#include "object_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <chrono>
#include <utility>

#include "crc32c.h"

namespace kvferry {
namespace {

/// One page for a header, aligned for O_DIRECT.
struct HeaderPage {
  HeaderPage() : bytes(static_cast<uint8_t*>(aligned_alloc(kObjectPageBytes, kObjectPageBytes))) {}
  ~HeaderPage() { free(bytes); }
  HeaderPage(const HeaderPage&) = delete;
  HeaderPage& operator=(const HeaderPage&) = delete;
  uint8_t* const bytes;
};

uint64_t WallClockMs() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

/// The padding belongs to the file. Written only where it is not zero already: several stores of one slot may run at once.
void ZeroPadding(const SlotView& view) {
  const uint64_t padded = PaddedBytes(view.bytes);
  for (uint64_t at = view.bytes; at < padded; ++at) {
    if (view.data[at] == 0) continue;
    memset(view.data + at, 0, padded - at);
    return;
  }
}

}  // namespace

/// What a store and a load share: the slot, the key, the header page, and how they end.
class SlotTask : public FileTask {
 public:
  SlotTask(std::shared_ptr<ObjectDirectory> directory, std::shared_ptr<Arena> arena, SlotView view, DiskKey key, std::shared_ptr<Operation> operation, uint32_t item)
      : directory_(std::move(directory)), arena_(std::move(arena)), view_(view), key_(key), identity_(IdentityOf(key)), operation_(std::move(operation)), item_(item) {}

  uint64_t BudgetBytes() const override { return ObjectFileBytes(view_.bytes); }
  void CancelTask() override { status_ = item_status::kCancelled; }
  void Complete() override {
    page_.reset();
    arena_->FinishIo(view_.index);
    operation_->FinishItem(item_, status_);
  }

 protected:
  /// Header page and slot as one transfer; false (and a status) without memory.
  bool Describe(bool write, FileTransfer* transfer) {
    page_ = std::make_unique<HeaderPage>();
    if (page_->bytes == nullptr) {
      status_ = -ENOMEM;
      return false;
    }
    transfer->file = file_.get();
    transfer->write = write;
    transfer->direct = directory_->direct_io();
    transfer->pieces[0] = {page_->bytes, kObjectPageBytes};
    transfer->pieces[1] = {view_.data, PaddedBytes(view_.bytes)};
    return true;
  }

  const std::shared_ptr<ObjectDirectory> directory_;
  const std::shared_ptr<Arena> arena_;
  const SlotView view_;
  const DiskKey key_;
  const FileIdentity identity_;
  const std::shared_ptr<Operation> operation_;
  const uint32_t item_;
  int32_t status_ = 0;
  FileHandle file_;
  std::unique_ptr<HeaderPage> page_;
};

class ObjectFiles::StoreTask final : public SlotTask {
 public:
  StoreTask(std::shared_ptr<ObjectDirectory> directory, std::shared_ptr<Arena> arena, SlotView view, const KeyedObject& object, std::shared_ptr<Operation> operation, uint32_t item)
      : SlotTask(std::move(directory), std::move(arena), view, object.key, std::move(operation), item), name_(object.name) {}

  bool IsLoad() const override { return false; }

  bool Prepare(FileTransfer* transfer) override {
    status_ = directory_->CheckPublished(identity_, ObjectFileBytes(view_.bytes));
    if (status_ != 0 && IsPublished()) return false;
    replace_ = status_ != 0;
    status_ = directory_->OpenTemporary(&temporary_, &file_);
    if (status_ != 0) return false;
    if (!Describe(true, transfer)) {
      directory_->RemoveTemporary(temporary_);
      return false;
    }
    uint32_t crc;
    if (!arena_->GetChecksum(view_.index, &crc)) {
      crc = Crc32c(view_.data, view_.bytes);
      arena_->SetChecksum(view_.index, crc);
    }
    ZeroPadding(view_);
    ObjectHeader header;
    header.key = key_;
    header.payload_bytes = view_.bytes;
    header.padded_crc = PaddedCrc(crc, view_.bytes);
    header.written_at_ms = WallClockMs();
    header.description = name_->description;
    EncodeHeader(header, page_->bytes);
    return true;
  }

  void Finish(int32_t result) override {
    if (result == 0) result = directory_->Sync(file_.get());
    const int closed = file_.Close();
    if (result == 0) result = closed;
    if (result == 0) {
      status_ = directory_->Publish(temporary_, identity_, ObjectFileBytes(view_.bytes), replace_);
    } else {
      directory_->RemoveTemporary(temporary_);
      status_ = result;
    }
  }

 private:
  /// Whether the file of the right size under this name is the object. It is read as a whole: whoever stores a key that is there
  /// already does not know the file, and what is damaged must not be answered as present.
  bool IsPublished() const {
    FileHandle published(directory_->OpenForInspection(identity_));
    if (published.get() < 0) return false;
    const ObjectFileReport report = InspectOpenFile(directory_->calls(), published.get());
    return report.problem.empty() && report.header.key == key_ && report.header.payload_bytes == view_.bytes;
  }

  const std::shared_ptr<const Namespace> name_;
  std::string temporary_;
  /// A damaged file lies under the name.
  bool replace_ = false;
};

class ObjectFiles::LoadTask final : public SlotTask {
 public:
  LoadTask(std::shared_ptr<ObjectDirectory> directory, std::shared_ptr<Arena> arena, SlotView view, const KeyedObject& object, std::shared_ptr<Operation> operation, uint32_t item)
      : SlotTask(std::move(directory), std::move(arena), view, object.key, std::move(operation), item) {}

  bool IsLoad() const override { return true; }

  bool Prepare(FileTransfer* transfer) override {
    uint64_t file_bytes = 0;
    status_ = directory_->OpenObject(identity_, &file_, &file_bytes);
    if (status_ != 0 || !Describe(false, transfer)) return false;
    if (file_bytes == ObjectFileBytes(view_.bytes)) return true;
    status_ = StatusOfWrongSize(*transfer, file_bytes);
    file_.Close();
    return false;
  }

  void Finish(int32_t result) override {
    file_.Close();
    status_ = result == 0 ? Verify() : result == kEndOfFile ? item_status::kCorrupt : result;
  }

 private:
  /// The slot is not touched: only the header is read, to tell another layout from a damaged file.
  int32_t StatusOfWrongSize(FileTransfer transfer, uint64_t file_bytes) {
    if (file_bytes < kObjectPageBytes) return item_status::kCorrupt;
    transfer.pieces[1] = {};
    const int32_t result = TransferNow(directory_->calls(), transfer);
    if (result != 0) return result == kEndOfFile ? item_status::kCorrupt : result;
    ObjectHeader header;
    std::string problem;
    const HeaderState state = DecodeHeader(page_->bytes, &header, &problem);
    if (state == HeaderState::kOtherVersion) return item_status::kOtherLayout;
    if (state == HeaderState::kDamaged || ObjectFileBytes(header.payload_bytes) != file_bytes) return item_status::kCorrupt;
    return header.key == key_ ? item_status::kOtherLayout : item_status::kForeignKey;
  }

  int32_t Verify() {
    ObjectHeader header;
    std::string problem;
    const HeaderState state = DecodeHeader(page_->bytes, &header, &problem);
    if (state != HeaderState::kIntact) return state == HeaderState::kOtherVersion ? item_status::kOtherLayout : item_status::kCorrupt;
    const uint32_t crc = Crc32c(view_.data, view_.bytes);
    const uint64_t padding = PaddedBytes(view_.bytes) - view_.bytes;
    if (Crc32cExtend(crc, view_.data + view_.bytes, padding) != header.padded_crc) return item_status::kCorrupt;
    if (!(header.key == key_)) return item_status::kForeignKey;
    if (header.payload_bytes != view_.bytes) return item_status::kOtherLayout;
    arena_->SetChecksum(view_.index, crc);
    return item_status::kOk;
  }
};

class ObjectFiles::RemoveJob final : public Job {
 public:
  RemoveJob(std::shared_ptr<ObjectDirectory> directory, std::vector<uint8_t> identities, std::shared_ptr<Operation> operation)
      : directory_(std::move(directory)), identities_(std::move(identities)), operation_(std::move(operation)) {}
  void Run(uint32_t item) override { operation_->FinishItem(item, directory_->Remove(identities_.data() + size_t{item} * kIdentityBytes)); }
  void Cancel(uint32_t item) override { operation_->FinishItem(item, item_status::kCancelled); }

 private:
  const std::shared_ptr<ObjectDirectory> directory_;
  const std::vector<uint8_t> identities_;
  const std::shared_ptr<Operation> operation_;
};

class ObjectFiles::ScanJob final : public Job {
 public:
  ScanJob(std::shared_ptr<ObjectDirectory> directory, std::shared_ptr<Scans> scans, uint32_t first_shard, uint32_t shard_count, std::shared_ptr<Operation> operation)
      : directory_(std::move(directory)), scans_(std::move(scans)), first_shard_(first_shard), shard_count_(shard_count), operation_(std::move(operation)) {}
  void Run(uint32_t) override {
    ScanRows rows;
    const int result = directory_->Scan(first_shard_, shard_count_, &rows);
    {
      std::lock_guard<std::mutex> lock(scans_->mutex);
      scans_->finished[operation_->op_id()] = std::move(rows);
    }
    operation_->FinishItem(0, result);
  }
  void Cancel(uint32_t) override { operation_->FinishItem(0, item_status::kCancelled); }

 private:
  const std::shared_ptr<ObjectDirectory> directory_;
  const std::shared_ptr<Scans> scans_;
  const uint32_t first_shard_;
  const uint32_t shard_count_;
  const std::shared_ptr<Operation> operation_;
};

Status ObjectFiles::Open(std::shared_ptr<Engine> engine, const ObjectFilesOptions& options, std::unique_ptr<ObjectFiles>* files, const SystemCalls* calls) {
  FileEngine* file_engine = nullptr;
  Status status = FileEngine::For(engine.get(), &file_engine, calls);
  if (!status.ok()) return status;
  std::shared_ptr<ObjectDirectory> directory;
  status = ObjectDirectory::Open(options.base_path, options.direct_io, options.fsync, calls, &directory);
  if (!status.ok()) return status;
  files->reset(new ObjectFiles(std::move(engine), file_engine, std::move(directory)));
  return {};
}

Status ObjectFiles::RegisterNamespace(uint32_t id, const Digest& digest, std::string description) {
  if (Status status = CheckOpen(); !status.ok()) return status;
  if (description.size() > kMaxDescriptionBytes)
    return Status::OutOfRange("description has " + std::to_string(description.size()) + " bytes; at most " + std::to_string(kMaxDescriptionBytes) + " fit into a header");
  auto known = namespaces_.find(id);
  if (known != namespaces_.end()) {
    if (known->second->digest == digest) return {};
    return Status::InvalidArgument("namespaceId " + std::to_string(id) + " is registered with another digest");
  }
  namespaces_[id] = std::make_shared<const Namespace>(Namespace{digest, std::move(description)});
  return {};
}

void ObjectFiles::Close() {
  if (closed_) return;
  closed_ = true;
  last_direct_io_ = {directory_->direct_io(), directory_->direct_io_reason()};
  directory_.reset();
}

ObjectFiles::DirectIo ObjectFiles::direct_io() const {
  if (closed_) return last_direct_io_;
  return {directory_->direct_io(), directory_->direct_io_reason()};
}

Status ObjectFiles::CheckOpen() const { return closed_ ? Status::Closed("the object files are closed") : Status(); }

Status ObjectFiles::KeysOf(const uint8_t* records, size_t record_bytes, std::vector<KeyedObject>* keys) const {
  if (record_bytes % kKeyRecordBytes != 0)
    return Status::OutOfRange("records has " + std::to_string(record_bytes) + " bytes; a whole number of " + std::to_string(kKeyRecordBytes) + "-byte records is allowed");
  const size_t count = record_bytes / kKeyRecordBytes;
  keys->resize(count);
  uint32_t last_id = 0;
  std::shared_ptr<const Namespace> last;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* record = records + i * kKeyRecordBytes;
    uint32_t id;
    memcpy(&id, record + 32, sizeof id);
    if (last == nullptr || id != last_id) {
      auto found = namespaces_.find(id);
      if (found == namespaces_.end()) return Status::OutOfRange("record " + std::to_string(i) + " names namespace " + std::to_string(id) + ", which is not registered");
      last = found->second;
      last_id = id;
    }
    KeyedObject& object = (*keys)[i];
    object.name = last;
    object.key.namespace_digest = last->digest;
    memcpy(object.key.chunk_hash.data(), record, kDigestBytes);
    memcpy(&object.key.kv_rank, record + 36, sizeof(uint32_t));
    memcpy(&object.key.group_id, record + 40, sizeof(uint32_t));
  }
  return {};
}

Status ObjectFiles::Digests(const uint8_t* records, size_t record_bytes, uint8_t* out) const {
  std::vector<KeyedObject> keys;
  Status status = KeysOf(records, record_bytes, &keys);
  if (!status.ok()) return status;
  for (size_t i = 0; i < keys.size(); ++i) memcpy(out + 16 * i, IdentityOf(keys[i].key).data(), 16);
  return {};
}

template <class Task>
Status ObjectFiles::Start(SlotAccess access, uint32_t op_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, const uint8_t* records, size_t record_bytes) {
  Status status = CheckOpen();
  std::vector<KeyedObject> keys;
  if (status.ok()) status = KeysOf(records, record_bytes, &keys);
  if (status.ok() && keys.size() != count)
    status = Status::OutOfRange("records holds " + std::to_string(keys.size()) + " keys; refs has " + std::to_string(count) + " slots");
  if (status.ok()) status = engine_->CheckOperation(op_id);
  std::vector<SlotView> views;
  if (status.ok()) status = arena->Resolve(refs, count, access, &views);
  if (!status.ok()) return status;
  std::shared_ptr<Operation> operation = engine_->Begin(op_id, static_cast<uint32_t>(count));
  std::vector<std::shared_ptr<FileTask>> tasks;
  tasks.reserve(count);
  for (uint32_t i = 0; i < count; ++i) tasks.push_back(std::make_shared<Task>(directory_, arena, views[i], keys[i], operation, i));
  files_->Submit(std::move(tasks));
  return {};
}

Status ObjectFiles::Store(uint32_t op_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, const uint8_t* records, size_t record_bytes) {
  return Start<StoreTask>(SlotAccess::kRead, op_id, arena, refs, count, records, record_bytes);
}

Status ObjectFiles::Load(uint32_t op_id, const std::shared_ptr<Arena>& arena, const SlotRef* refs, size_t count, const uint8_t* records, size_t record_bytes) {
  return Start<LoadTask>(SlotAccess::kWrite, op_id, arena, refs, count, records, record_bytes);
}

Status ObjectFiles::Remove(uint32_t op_id, const uint8_t* identities, size_t identity_bytes) {
  Status status = CheckOpen();
  if (status.ok() && identity_bytes % kIdentityBytes != 0)
    status = Status::OutOfRange("identities has " + std::to_string(identity_bytes) + " bytes; a whole number of " + std::to_string(kIdentityBytes) + "-byte identities is allowed");
  if (status.ok()) status = engine_->CheckOperation(op_id);
  if (!status.ok()) return status;
  const uint32_t count = static_cast<uint32_t>(identity_bytes / kIdentityBytes);
  std::shared_ptr<Operation> operation = engine_->Begin(op_id, count);
  engine_->Submit(PoolKind::kFile, std::make_shared<RemoveJob>(directory_, std::vector<uint8_t>(identities, identities + identity_bytes), std::move(operation)), count);
  return {};
}

Status ObjectFiles::Scan(uint32_t op_id, uint32_t first_shard, uint32_t shard_count) {
  Status status = CheckOpen();
  if (status.ok() && (first_shard > 255 || shard_count < 1 || shard_count > 256 - first_shard))
    status = Status::OutOfRange("firstShard " + std::to_string(first_shard) + " with shardCount " + std::to_string(shard_count) + " is not within the 256 shards");
  if (status.ok()) status = engine_->CheckOperation(op_id);
  if (!status.ok()) return status;
  std::shared_ptr<Operation> operation = engine_->Begin(op_id, 1);
  engine_->Submit(PoolKind::kFile, std::make_shared<ScanJob>(directory_, scans_, first_shard, shard_count, std::move(operation)), 1);
  return {};
}

Status ObjectFiles::TakeScan(uint32_t op_id, ScanRows* rows) {
  std::lock_guard<std::mutex> lock(scans_->mutex);
  auto found = scans_->finished.find(op_id);
  if (found == scans_->finished.end()) return Status::OutOfRange("opId " + std::to_string(op_id) + " is not a finished scan whose rows are still here");
  *rows = std::move(found->second);
  scans_->finished.erase(found);
  return {};
}

}  // namespace kvferry
