// The bytes' work of buffer-only mode with nothing around it: the yardstick of `kvferry bench buffer-only`.
//
// Each object is copied from the caller's engine memory, the same that the real path gathers from, into a ring the size of L1 with
// its crc32c computed, and from there into a ring the size of the store, by the same copy functions that the real path uses: no keys,
// no slots, no queue, no JavaScript.
//
// Thread safety: RunPlainCopyLoop blocks its caller and owns its threads.
#ifndef KVFERRY_CORE_PLAIN_COPY_LOOP_H_
#define KVFERRY_CORE_PLAIN_COPY_LOOP_H_

#include <cstdint>

#include "status.h"

namespace kvferry {

struct PlainCopyLoopOptions {
  uint64_t objects = 0;
  uint64_t object_bytes = 0;
  /// Engine memory, used as a ring of objects.
  const uint8_t* source = nullptr;
  /// Sizes of the three rings; each holds at least one object per thread.
  uint64_t source_bytes = 0;
  uint64_t l1_bytes = 0;
  uint64_t l2_bytes = 0;
  uint32_t threads = 1;
};

struct PlainCopyLoopResult {
  double seconds = 0;
  /// All checksums folded together, so that no compiler can leave the work out.
  uint32_t checksums = 0;
};

/// The memory of L1 and the store is mapped and touched before the clock starts.
Status RunPlainCopyLoop(const PlainCopyLoopOptions& options, PlainCopyLoopResult* result);

}  // namespace kvferry

#endif  // KVFERRY_CORE_PLAIN_COPY_LOOP_H_
