// The engine's own operations on slots: copying whole objects between slots, and checksums in the background.
//
// Thread safety: both functions on the owner thread; the work runs on the copy pool.
#ifndef KVFERRY_CORE_SLOT_JOBS_H_
#define KVFERRY_CORE_SLOT_JOBS_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "arena.h"
#include "engine.h"

namespace kvferry {

/// Copies object i of `source` into slot i of `target`, whose size must be the same. A checksum that the source has goes with
/// the bytes; one that it lacks is computed on the way. With `verify` the bytes that arrive are compared with the checksum of
/// the source, and a difference ends the item as kCorrupt, its target without a checksum.
Status StartCopySlots(Engine& engine, uint32_t op_id, std::shared_ptr<Arena> source, const SlotRef* source_refs, std::shared_ptr<Arena> target, const SlotRef* target_refs, size_t count,
                      bool verify);

/// Computes the checksum of every slot that has none.
Status StartChecksumSlots(Engine& engine, uint32_t op_id, std::shared_ptr<Arena> arena, const SlotRef* refs, size_t count);

}  // namespace kvferry

#endif  // KVFERRY_CORE_SLOT_JOBS_H_
