// An engine and an arena as tests want them: wait for an operation and get its statuses, fill and read slots.
#ifndef KVFERRY_TEST_NATIVE_ENGINE_HARNESS_H_
#define KVFERRY_TEST_NATIVE_ENGINE_HARNESS_H_

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "arena.h"
#include "engine.h"

namespace kvferry {

class EngineHarness {
 public:
  explicit EngineHarness(EngineOptions options = {}, uint64_t arena_bytes = uint64_t{64} << 20) {
    EXPECT_TRUE(Engine::Open(options, &engine).ok());
    ArenaOptions arena_options;
    arena_options.size_bytes = arena_bytes;
    arena_options.huge_pages = false;
    EXPECT_TRUE(Arena::Open(arena_options, &arena).ok());
  }
  ~EngineHarness() { engine->Shutdown(); }

  std::vector<SlotRef> Slots(uint64_t bytes, uint32_t count) {
    std::vector<SlotRef> refs(count);
    uint32_t taken = 0;
    EXPECT_TRUE(arena->Allocate(bytes, count, refs.data(), &taken).ok());
    EXPECT_EQ(taken, count);
    return refs;
  }

  void Write(SlotRef ref, const std::vector<uint8_t>& bytes) { EXPECT_TRUE(arena->Write(ref, 0, bytes.data(), bytes.size()).ok()); }

  std::vector<uint8_t> Read(SlotRef ref, uint64_t bytes) {
    std::vector<uint8_t> out(bytes);
    EXPECT_TRUE(arena->Read(ref, 0, out.data(), out.size()).ok());
    return out;
  }

  uint32_t NextOp() { return ++last_op_; }

  /// Statuses of an operation, waiting for its end (stepped engines: running everything).
  std::vector<int32_t> Await(uint32_t op) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (ended_.count(op) == 0) {
      if (engine->stepped()) engine->Step(UINT32_MAX);
      Drain();
      if (ended_.count(op) != 0) break;
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "operation " << op << " did not end";
        return {};
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    std::vector<int32_t> statuses = std::move(ended_[op]);
    ended_.erase(op);
    return statuses;
  }

  bool HasEnded(uint32_t op) {
    Drain();
    return ended_.count(op) != 0;
  }

  void Drain() {
    std::vector<int32_t> words(1 << 16);
    const size_t count = engine->Drain(words.data(), words.size());
    for (size_t at = 0; at < count; at += 2 + static_cast<size_t>(words[at + 1]))
      ended_[static_cast<uint32_t>(words[at])] = std::vector<int32_t>(words.begin() + static_cast<long>(at) + 2, words.begin() + static_cast<long>(at) + 2 + words[at + 1]);
  }

  std::shared_ptr<Engine> engine;
  std::shared_ptr<Arena> arena;

 private:
  uint32_t last_op_ = 0;
  std::map<uint32_t, std::vector<int32_t>> ended_;
};

}  // namespace kvferry

#endif  // KVFERRY_TEST_NATIVE_ENGINE_HARNESS_H_
