#include "plain_copy_loop.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "memory_copy.h"
#include "memory_reservation.h"

namespace kvferry {
namespace {

/// One thread's part of a ring: whole objects, used one after the other.
template <class Byte>
struct Ring {
  Byte* base;
  uint64_t objects;
  Byte* At(uint64_t index, uint64_t object_bytes) const { return base + (index % objects) * object_bytes; }
};

Status OpenTouched(uint64_t bytes, MemoryReservation* memory) {
  const Status status = memory->OpenPrivate((bytes + 4095) / 4096 * 4096, true);
  if (!status.ok()) return status;
  // Not zeroes: a page of zeroes may be shared, and copying it would be cheaper than the real thing.
  std::memset(memory->base(), 0x5a, memory->bytes());
  return {};
}

template <class Byte>
Ring<Byte> PartOf(Byte* memory, uint64_t bytes, uint64_t object_bytes, uint32_t thread, uint32_t threads) {
  const uint64_t objects = bytes / object_bytes / threads;
  return {memory + thread * objects * object_bytes, objects};
}

}  // namespace

Status RunPlainCopyLoop(const PlainCopyLoopOptions& options, PlainCopyLoopResult* result) {
  const uint64_t least = options.object_bytes * options.threads;
  if (options.source == nullptr) return Status::InvalidArgument("source is empty");
  if (options.object_bytes == 0 || options.threads == 0) return Status::OutOfRange("objectBytes and threads must be at least 1");
  if (std::min({options.source_bytes, options.l1_bytes, options.l2_bytes}) < least)
    return Status::OutOfRange("each ring must hold one object per thread, " + std::to_string(least) + " bytes");

  MemoryReservation l1;
  MemoryReservation l2;
  for (const auto& [bytes, memory] : {std::pair{options.l1_bytes, &l1}, std::pair{options.l2_bytes, &l2}}) {
    const Status status = OpenTouched(bytes, memory);
    if (!status.ok()) return status;
  }

  std::atomic<uint32_t> checksums{0};
  const auto work = [&](uint32_t thread) {
    const uint64_t bytes = options.object_bytes;
    const auto from = PartOf(options.source, options.source_bytes, bytes, thread, options.threads);
    const auto slots = PartOf(l1.base(), options.l1_bytes, bytes, thread, options.threads);
    const auto store = PartOf(l2.base(), options.l2_bytes, bytes, thread, options.threads);
    uint32_t folded = 0;
    for (uint64_t index = thread; index < options.objects; index += options.threads) {
      uint8_t* slot = slots.At(index / options.threads, bytes);
      folded ^= CopyBytesCrc32c(slot, from.At(index / options.threads, bytes), bytes, 0);
      CopyBytes(store.At(index / options.threads, bytes), slot, bytes);
    }
    checksums.fetch_xor(folded, std::memory_order_relaxed);
  };
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (uint32_t thread = 0; thread < options.threads; thread++) threads.emplace_back(work, thread);
  for (std::thread& thread : threads) thread.join();
  result->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result->checksums = checksums.load(std::memory_order_relaxed);
  return {};
}

}  // namespace kvferry
