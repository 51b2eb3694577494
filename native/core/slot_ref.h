// The words in which the rest of the addon speaks of a slot.
#ifndef KVFERRY_CORE_SLOT_REF_H_
#define KVFERRY_CORE_SLOT_REF_H_

#include <cstdint>

namespace kvferry {

/// What JavaScript holds: a pair of u32 in a `SlotRefs` array. Never an address. The generation of a live slot is odd.
struct SlotRef {
  uint32_t index;
  uint32_t generation;
};
static_assert(sizeof(SlotRef) == 8, "SlotRefs arrays of JavaScript are read as SlotRef[]");

/// Where a slot's object lies now. `data` stays valid while I/O is counted on the slot; without I/O only until the next
/// Allocate, which may move it.
struct SlotView {
  uint8_t* data;
  /// Bytes of the object as asked for, not rounded.
  uint32_t bytes;
  /// For FinishIo and SetChecksum.
  uint32_t index;
};

/// How an operation uses the slots it resolves.
enum class SlotAccess {
  /// Reads the object; a slot may be named twice.
  kRead,
  /// Overwrites the object: its checksum becomes unknown at once, and naming a slot twice is refused.
  kWrite,
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_SLOT_REF_H_
