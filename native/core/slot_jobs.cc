#include "slot_jobs.h"

#include <string>
#include <utility>
#include <vector>

#include "crc32c.h"
#include "memory_copy.h"

namespace kvferry {
namespace {

class CopyJob final : public Job {
 public:
  CopyJob(std::shared_ptr<Arena> source, std::vector<SlotView> source_views, std::shared_ptr<Arena> target, std::vector<SlotView> target_views, bool verify, std::shared_ptr<Operation> operation)
      : source_(std::move(source)), target_(std::move(target)), source_views_(std::move(source_views)), target_views_(std::move(target_views)), verify_(verify), operation_(std::move(operation)) {}

  void Run(uint32_t item) override { Finish(item, Copy(source_views_[item], target_views_[item])); }
  void Cancel(uint32_t item) override { Finish(item, item_status::kCancelled); }

 private:
  int32_t Copy(const SlotView& from, const SlotView& to) {
    uint32_t known = 0;
    const bool is_known = source_->GetChecksum(from.index, &known);
    if (is_known && !verify_) {
      CopyBytes(to.data, from.data, from.bytes);
      target_->SetChecksum(to.index, known);
      return item_status::kOk;
    }
    const uint32_t computed = CopyBytesCrc32c(to.data, from.data, from.bytes, 0);
    if (is_known && computed != known) return item_status::kCorrupt;
    target_->SetChecksum(to.index, computed);
    return item_status::kOk;
  }

  void Finish(uint32_t item, int32_t status) {
    source_->FinishIo(source_views_[item].index);
    target_->FinishIo(target_views_[item].index);
    operation_->FinishItem(item, status);
  }

  const std::shared_ptr<Arena> source_;
  const std::shared_ptr<Arena> target_;
  const std::vector<SlotView> source_views_;
  const std::vector<SlotView> target_views_;
  const bool verify_;
  const std::shared_ptr<Operation> operation_;
};

class ChecksumJob final : public Job {
 public:
  ChecksumJob(std::shared_ptr<Arena> arena, std::vector<SlotView> views, std::shared_ptr<Operation> operation) : arena_(std::move(arena)), views_(std::move(views)), operation_(std::move(operation)) {}

  void Run(uint32_t item) override {
    const SlotView& view = views_[item];
    uint32_t known = 0;
    if (!arena_->GetChecksum(view.index, &known)) arena_->SetChecksum(view.index, Crc32c(view.data, view.bytes));
    Finish(item, item_status::kOk);
  }
  void Cancel(uint32_t item) override { Finish(item, item_status::kCancelled); }

 private:
  void Finish(uint32_t item, int32_t status) {
    arena_->FinishIo(views_[item].index);
    operation_->FinishItem(item, status);
  }

  const std::shared_ptr<Arena> arena_;
  const std::vector<SlotView> views_;
  const std::shared_ptr<Operation> operation_;
};

/// Sizes agree and no slot is copied onto itself, found out before any I/O is counted.
Status CheckPairs(const Arena& source, const SlotRef* source_refs, const Arena& target, const SlotRef* target_refs, size_t count) {
  std::vector<SlotView> from;
  std::vector<SlotView> to;
  Status status = source.View(source_refs, count, &from);
  if (status.ok()) status = target.View(target_refs, count, &to);
  for (size_t i = 0; i < count && status.ok(); ++i) {
    if (from[i].bytes != to[i].bytes) {
      status = Status::OutOfRange("slot " + std::to_string(i) + " holds " + std::to_string(from[i].bytes) + " bytes and its target " + std::to_string(to[i].bytes) + "; the sizes must agree");
    } else if (from[i].data == to[i].data) {
      status = Status::InvalidArgument("slot " + std::to_string(i) + " is its own target");
    }
  }
  return status;
}

}  // namespace

Status StartCopySlots(Engine& engine, uint32_t op_id, std::shared_ptr<Arena> source, const SlotRef* source_refs, std::shared_ptr<Arena> target, const SlotRef* target_refs, size_t count,
                      bool verify) {
  Status status = engine.CheckOperation(op_id);
  if (status.ok()) status = CheckPairs(*source, source_refs, *target, target_refs, count);
  if (!status.ok()) return status;
  std::vector<SlotView> target_views;
  std::vector<SlotView> source_views;
  status = target->Resolve(target_refs, count, SlotAccess::kWrite, &target_views);
  if (!status.ok()) return status;
  status = source->Resolve(source_refs, count, SlotAccess::kRead, &source_views);
  if (!status.ok()) {
    for (const SlotView& view : target_views) target->FinishIo(view.index);
    return status;
  }
  auto operation = engine.Begin(op_id, static_cast<uint32_t>(count));
  auto job = std::make_shared<CopyJob>(std::move(source), std::move(source_views), std::move(target), std::move(target_views), verify, std::move(operation));
  engine.Submit(PoolKind::kCopy, std::move(job), static_cast<uint32_t>(count));
  return {};
}

Status StartChecksumSlots(Engine& engine, uint32_t op_id, std::shared_ptr<Arena> arena, const SlotRef* refs, size_t count) {
  Status status = engine.CheckOperation(op_id);
  if (!status.ok()) return status;
  std::vector<SlotView> views;
  status = arena->Resolve(refs, count, SlotAccess::kRead, &views);
  if (!status.ok()) return status;
  auto operation = engine.Begin(op_id, static_cast<uint32_t>(count));
  engine.Submit(PoolKind::kCopy, std::make_shared<ChecksumJob>(std::move(arena), std::move(views), std::move(operation)), static_cast<uint32_t>(count));
  return {};
}

}  // namespace kvferry
