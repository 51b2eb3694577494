#include "engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "crc32c.h"
#include "slot_jobs.h"
#include "test_random.h"

namespace kvferry {
namespace {

std::shared_ptr<Engine> OpenEngine(bool stepped, uint32_t copy_threads = 2) {
  EngineOptions options;
  options.stepped = stepped;
  options.copy_threads = copy_threads;
  std::shared_ptr<Engine> engine;
  const Status status = Engine::Open(options, &engine);
  EXPECT_TRUE(status.ok()) << status.message();
  return engine;
}

std::shared_ptr<Arena> OpenArena(uint64_t size_bytes) {
  ArenaOptions options;
  options.size_bytes = size_bytes;
  std::shared_ptr<Arena> arena;
  EXPECT_TRUE(Arena::Open(options, &arena).ok());
  return arena;
}

std::vector<SlotRef> Allocate(Arena& arena, uint64_t size_bytes, uint32_t count) {
  std::vector<SlotRef> refs(count);
  uint32_t taken = 0;
  EXPECT_TRUE(arena.Allocate(size_bytes, count, refs.data(), &taken).ok());
  EXPECT_EQ(taken, count);
  return refs;
}

/// Drains everything: op_id -> statuses.
std::map<uint32_t, std::vector<int32_t>> DrainAll(Engine& engine) {
  std::map<uint32_t, std::vector<int32_t>> records;
  std::vector<int32_t> out(1 << 16);
  while (const size_t words = engine.Drain(out.data(), out.size())) {
    for (size_t i = 0; i < words;) {
      const auto op_id = static_cast<uint32_t>(out[i]);
      const auto count = static_cast<size_t>(out[i + 1]);
      EXPECT_EQ(records.count(op_id), 0u) << "an operation completed twice";
      records[op_id].assign(out.begin() + static_cast<std::ptrdiff_t>(i) + 2, out.begin() + static_cast<std::ptrdiff_t>(i + 2 + count));
      i += 2 + count;
    }
  }
  return records;
}

void WaitUntilDone(Engine& engine, std::map<uint32_t, std::vector<int32_t>>* records) {
  while (engine.Stats().pending_operations > 0) {
    records->merge(DrainAll(engine));
    std::this_thread::yield();
  }
}

/// Counts items; each takes `pause`.
class CountingJob final : public Job {
 public:
  CountingJob(std::shared_ptr<Operation> operation, std::chrono::microseconds pause) : operation_(std::move(operation)), pause_(pause) {}
  void Run(uint32_t item) override {
    if (pause_.count() > 0) std::this_thread::sleep_for(pause_);
    operation_->FinishItem(item, static_cast<int32_t>(item));
  }
  void Cancel(uint32_t item) override { operation_->FinishItem(item, item_status::kCancelled); }

 private:
  std::shared_ptr<Operation> operation_;
  std::chrono::microseconds pause_;
};

void Start(Engine& engine, uint32_t op_id, uint32_t items, PoolKind kind = PoolKind::kCopy, std::chrono::microseconds pause = std::chrono::microseconds(0)) {
  ASSERT_TRUE(engine.CheckOperation(op_id).ok());
  auto operation = engine.Begin(op_id, items);
  engine.Submit(kind, std::make_shared<CountingJob>(std::move(operation), pause), items);
}

TEST(EngineTest, EveryOperationEndsOnceWithOneStatusPerItem) {
  auto engine = OpenEngine(false);
  std::map<uint32_t, std::vector<int32_t>> records;
  for (uint32_t op = 1; op <= 300; ++op) Start(*engine, op, op % 40, op % 2 == 0 ? PoolKind::kCopy : PoolKind::kFile);
  WaitUntilDone(*engine, &records);
  ASSERT_EQ(records.size(), 300u);
  for (const auto& [op, statuses] : records) {
    ASSERT_EQ(statuses.size(), op % 40);
    for (size_t i = 0; i < statuses.size(); ++i) ASSERT_EQ(statuses[i], static_cast<int32_t>(i));
  }
  EXPECT_EQ(engine->Stats().completions, 300u);
  EXPECT_TRUE(engine->Close().ok());
}

TEST(EngineTest, WakesOncePerTurnFromEmptyToNonEmpty) {
  auto engine = OpenEngine(false, 1);
  std::atomic<int> wakes{0};
  engine->SetWake([&] { wakes += 1; });
  std::mutex gate;
  std::unique_lock<std::mutex> closed(gate);
  // The only copy thread waits at the gate until ten more operations are queued behind it.
  auto first = engine->Begin(1, 1);
  engine->Submit(PoolKind::kCopy, std::make_shared<FunctionJob>([&, first] { std::lock_guard<std::mutex> pass(gate); first->FinishItem(0, 0); }, [] {}), 1);
  for (uint32_t op = 2; op <= 11; ++op) Start(*engine, op, 4);
  closed.unlock();
  while (engine->Stats().completions < 11) std::this_thread::yield();
  EXPECT_EQ(DrainAll(*engine).size(), 11u);
  EXPECT_EQ(wakes, 1);
  Start(*engine, 12, 1);
  while (engine->Stats().completions < 12) std::this_thread::yield();
  // The wake comes right after the count.
  for (int i = 0; i < 1000 && wakes < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(wakes, 2);
}

TEST(EngineTest, ARecordIsNeverSplit) {
  auto engine = OpenEngine(true);
  Start(*engine, 5, 3);
  Start(*engine, 6, 10);
  EXPECT_EQ(engine->Step(10), 2u);
  int32_t out[16] = {};
  EXPECT_EQ(engine->NeededWords(), 5u);
  EXPECT_EQ(engine->Drain(out, 4), 0u);
  EXPECT_EQ(engine->Drain(out, 16), 5u);
  EXPECT_EQ(out[0], 5);
  EXPECT_EQ(engine->NeededWords(), 12u);
  EXPECT_EQ(engine->Drain(out, 11), 0u);
  EXPECT_EQ(engine->Drain(out, 12), 12u);
  EXPECT_EQ(engine->NeededWords(), 0u);
}

TEST(EngineTest, SteppedModeRunsOneOperationAtATimeOnTheCallersThread) {
  auto engine = OpenEngine(true);
  bool woke = false;
  engine->SetWake([&] { woke = true; });
  EXPECT_EQ(engine->Stats().copy_threads, 0u);
  Start(*engine, 1, 3);
  Start(*engine, 2, 0);
  Start(*engine, 3, 2, PoolKind::kFile);
  EXPECT_TRUE(DrainAll(*engine).empty());
  for (uint32_t op = 1; op <= 3; ++op) {
    EXPECT_EQ(engine->Step(1), 1u);
    const auto records = DrainAll(*engine);
    ASSERT_EQ(records.size(), 1u);
    EXPECT_EQ(records.begin()->first, op);
  }
  EXPECT_EQ(engine->Step(5), 0u);
  EXPECT_FALSE(woke);
  EXPECT_TRUE(engine->Close().ok());
}

TEST(EngineTest, RefusesIdsThatArePendingAndTooManyOperations) {
  auto engine = OpenEngine(true);
  Start(*engine, 1, 1);
  EXPECT_EQ(engine->CheckOperation(1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine->Close().code(), StatusCode::kBusy);
  for (uint32_t op = 2; op <= Engine::kMaxPendingOperations; ++op) Start(*engine, op, 1);
  EXPECT_EQ(engine->CheckOperation(0).code(), StatusCode::kBusy);
  EXPECT_EQ(engine->Step(UINT32_MAX), Engine::kMaxPendingOperations);
  EXPECT_EQ(engine->CheckOperation(1).code(), StatusCode::kInvalidArgument) << "pending until it was drained";
  DrainAll(*engine);
  EXPECT_TRUE(engine->CheckOperation(1).ok());
  EXPECT_TRUE(engine->Close().ok());
  EXPECT_EQ(engine->CheckOperation(1).code(), StatusCode::kClosed);
}

TEST(EngineTest, BusyIsToldAtTheFirstOperationAndTheLastDrained) {
  auto engine = OpenEngine(true);
  std::vector<bool> told;
  engine->SetBusyChanged([&](bool busy) { told.push_back(busy); });
  Start(*engine, 1, 1);
  Start(*engine, 2, 1);
  engine->Step(1);
  DrainAll(*engine);
  EXPECT_EQ(told, std::vector<bool>{true});
  engine->Step(1);
  DrainAll(*engine);
  EXPECT_EQ(told, (std::vector<bool>{true, false}));
}

TEST(EngineTest, ShutdownCancelsWhatHasNotStartedAndGivesBackTheSlots) {
  auto engine = OpenEngine(false, 1);
  auto arena = OpenArena(4 << 20);
  const auto refs = Allocate(*arena, 4096, 512);
  Start(*engine, 1, 3, PoolKind::kCopy, std::chrono::milliseconds(20));
  for (uint32_t op = 2; op < 200; ++op) ASSERT_TRUE(StartChecksumSlots(*engine, op, arena, refs.data(), refs.size()).ok());
  engine->Shutdown();
  engine->Shutdown();
  const auto records = DrainAll(*engine);
  EXPECT_EQ(records.size(), 199u);
  EXPECT_EQ(records.at(199).back(), item_status::kCancelled);
  EXPECT_EQ(arena->Stats().slots_in_io, 0u);
  EXPECT_TRUE(arena->Close().ok());
}

TEST(SlotJobsTest, CopiesBytesAndChecksumsBetweenArenas) {
  auto engine = OpenEngine(false);
  auto source = OpenArena(8 << 20);
  auto target = OpenArena(8 << 20);
  for (const uint32_t bytes : {1u, 4097u, 200'000u}) {
    const auto from = Allocate(*source, bytes, 8);
    const auto to = Allocate(*target, bytes, 8);
    std::vector<uint8_t> content(bytes);
    for (size_t i = 0; i < 8; ++i) {
      for (size_t j = 0; j < bytes; ++j) content[j] = static_cast<uint8_t>(i * 31 + j * 7);
      ASSERT_TRUE(source->Write(from[i], 0, content.data(), bytes).ok());
    }
    for (const bool verify : {false, true}) {
      std::map<uint32_t, std::vector<int32_t>> records;
      ASSERT_TRUE(StartCopySlots(*engine, 1, source, from.data(), target, to.data(), 8, verify).ok());
      WaitUntilDone(*engine, &records);
      EXPECT_EQ(records.at(1), std::vector<int32_t>(8, 0));
      std::vector<uint32_t> from_crcs(8);
      std::vector<uint32_t> to_crcs(8);
      ASSERT_TRUE(source->Checksums(from.data(), 8, from_crcs.data()).ok());
      ASSERT_TRUE(target->Checksums(to.data(), 8, to_crcs.data()).ok());
      EXPECT_EQ(from_crcs, to_crcs);
      std::vector<uint8_t> read(bytes);
      ASSERT_TRUE(target->Read(to[7], 0, read.data(), bytes).ok());
      EXPECT_EQ(read, content);
    }
    uint64_t returned = 0;
    ASSERT_TRUE(source->Free(from.data(), 8, &returned).ok());
    ASSERT_TRUE(target->Free(to.data(), 8, &returned).ok());
  }
  EXPECT_EQ(source->UsedBytes() + target->UsedBytes(), 0u);
}

TEST(SlotJobsTest, VerifyFindsBytesThatChangedBehindTheChecksum) {
  auto engine = OpenEngine(true);
  auto source = OpenArena(1 << 20);
  auto target = OpenArena(1 << 20);
  const auto from = Allocate(*source, 5000, 2);
  const auto to = Allocate(*target, 5000, 2);
  std::vector<uint32_t> crcs(2);
  ASSERT_TRUE(source->Checksums(from.data(), 2, crcs.data()).ok());
  std::vector<SlotView> views;
  ASSERT_TRUE(source->View(from.data(), 2, &views).ok());
  views[1].data[4999] ^= 1;
  ASSERT_TRUE(StartCopySlots(*engine, 1, source, from.data(), target, to.data(), 2, true).ok());
  engine->Step(1);
  EXPECT_EQ(DrainAll(*engine).at(1), (std::vector<int32_t>{item_status::kOk, item_status::kCorrupt}));
  uint32_t known = 0;
  EXPECT_FALSE(target->GetChecksum(to[1].index, &known));

  // Without verify the damage travels under the checksum of the intact bytes, so that the next verification finds it.
  ASSERT_TRUE(StartCopySlots(*engine, 2, source, from.data(), target, to.data(), 2, false).ok());
  engine->Step(1);
  ASSERT_TRUE(target->GetChecksum(to[1].index, &known));
  EXPECT_EQ(known, crcs[1]);
}

TEST(SlotJobsTest, RefusedCopiesCountNoIo) {
  auto engine = OpenEngine(true);
  auto arena = OpenArena(1 << 20);
  const auto small = Allocate(*arena, 4096, 3);
  const auto large = Allocate(*arena, 8192, 2);
  EXPECT_EQ(StartCopySlots(*engine, 1, arena, small.data(), arena, large.data(), 2, false).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(StartCopySlots(*engine, 1, arena, small.data(), arena, small.data(), 2, false).code(), StatusCode::kInvalidArgument);
  const SlotRef doubled[2] = {small[2], small[2]};
  EXPECT_EQ(StartCopySlots(*engine, 1, arena, small.data(), arena, doubled, 2, false).code(), StatusCode::kStaleHandle);
  const SlotRef forged[2] = {small[0], {99, 1}};
  EXPECT_EQ(StartCopySlots(*engine, 1, arena, forged, arena, large.data(), 2, false).code(), StatusCode::kStaleHandle);
  EXPECT_EQ(arena->Stats().slots_in_io, 0u);
  EXPECT_EQ(engine->Stats().pending_operations, 0u);
}

// Run under TSan.
TEST(SlotJobsTest, ManyOperationsAtOnceLoseNothing) {
  TestRandom random;
  auto engine = OpenEngine(false, 3);
  auto source = OpenArena(4 << 20);
  auto target = OpenArena(4 << 20);
  std::map<uint32_t, std::vector<int32_t>> records;
  uint32_t op_id = 0;
  for (int round = 0; round < 300; ++round) {
    const uint32_t bytes = 1 + random.Below(20'000);
    const uint32_t count = 1 + random.Below(20);
    const auto from = Allocate(*source, bytes, count);
    const auto to = Allocate(*target, bytes, count);
    ASSERT_TRUE(StartChecksumSlots(*engine, ++op_id, source, from.data(), count).ok());
    ASSERT_TRUE(StartCopySlots(*engine, ++op_id, source, from.data(), target, to.data(), count, random.OneIn(2)).ok());
    uint64_t returned = 0;
    ASSERT_TRUE(source->Free(from.data(), count, &returned).ok());
    ASSERT_TRUE(target->Free(to.data(), count, &returned).ok());
    while (source->UsedBytes() > (2 << 20)) records.merge(DrainAll(*engine));
  }
  WaitUntilDone(*engine, &records);
  EXPECT_EQ(records.size(), op_id);
  EXPECT_EQ(source->UsedBytes() + target->UsedBytes(), 0u);
  EXPECT_TRUE(engine->Close().ok());
}

}  // namespace
}  // namespace kvferry
