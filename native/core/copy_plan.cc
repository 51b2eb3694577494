#include "copy_plan.h"

namespace kvferry {

CopyPlanSummary Summarise(const KvLayout& layout, const int32_t* block_ids, uint32_t skip_tokens, const CopyCapabilities& capabilities) {
  CopyPlanSummary summary;
  ForEachPiece(layout, block_ids, skip_tokens, AllTiles(layout), capabilities, [&](const CopyPiece& piece) {
    if (piece.null) return;
    uint64_t run = piece.bytes;
    uint64_t runs = 1;
    if (piece.tokens > 0) {
      run = layout.token_is_run() ? layout.token_bytes() : layout.spec().head_bytes;
      runs = piece.bytes / run;
    }
    summary.smallest_run = summary.pieces == 0 ? run : std::min(summary.smallest_run, run);
    summary.largest_run = std::max(summary.largest_run, run);
    summary.pieces += runs;
    summary.bytes += piece.bytes;
  });
  return summary;
}

}  // namespace kvferry
