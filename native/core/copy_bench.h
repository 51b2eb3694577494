// CopyBench: gather, scatter and crc32c against memcpy, on one thread, in alternation: the yardstick and the measured in one
// process and on the same memory (`kvferry bench copy`).
//
// Thread safety: pure apart from its own memory; blocks its caller.
#ifndef KVFERRY_CORE_COPY_BENCH_H_
#define KVFERRY_CORE_COPY_BENCH_H_

#include <cstdint>
#include <vector>

#include "status.h"

namespace kvferry {

struct CopyBenchOptions {
  /// Shape of an object: 2 planes x layers x chunk_tokens x heads x head_bytes.
  uint32_t layers = 0;
  uint32_t heads = 0;
  uint64_t head_bytes = 0;
  uint32_t block_tokens = 0;
  uint32_t chunk_tokens = 0;
  /// Heads outside tokens in a block: every head of every token is a piece of its own.
  bool head_major = false;
  /// Objects per round; engine memory and slots are as large as all of them.
  uint32_t objects = 0;
  uint32_t rounds = 0;
};

struct CopyBenchRound {
  /// Seconds for all objects, in the order in which they are measured.
  double memcpy_pieces = 0;
  double memcpy_whole = 0;
  double gather = 0;
  double scatter = 0;
  double crc32c = 0;
};

struct CopyBenchResult {
  uint64_t object_bytes = 0;
  uint64_t piece_bytes = 0;
  std::vector<CopyBenchRound> rounds;
  /// Gather left the bytes and checksums that memcpy and crc32c gave, and scatter brought them back.
  bool equal = false;
};

Status RunCopyBench(const CopyBenchOptions& options, CopyBenchResult* result);

}  // namespace kvferry

#endif  // KVFERRY_CORE_COPY_BENCH_H_
