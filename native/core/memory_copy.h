// Copies of whole objects and large pieces, with and without their checksum.
//
// Copies of kStreamingBytes and more bypass the cache on the target side (non-temporal stores): the target is not read again
// by the processor that writes it, and not fetching its lines first is worth 1.5-2 x. The checksum is taken piece by piece
// while the source piece is in cache, so that memory is read once.
//
// Thread safety: any thread. REQUIRES: source and target do not overlap.
#ifndef KVFERRY_CORE_MEMORY_COPY_H_
#define KVFERRY_CORE_MEMORY_COPY_H_

#include <cstddef>
#include <cstdint>

namespace kvferry {

constexpr size_t kStreamingBytes = 64 * 1024;

/// memcpy, streaming where the copy is large. Ends with the fence that streaming stores need, so that a release store
/// after it publishes the bytes.
void CopyBytes(void* target, const void* source, size_t bytes) noexcept;

/// CopyBytes that also extends `crc` (0 to begin with) over the bytes copied.
uint32_t CopyBytesCrc32c(void* target, const void* source, size_t bytes, uint32_t crc) noexcept;

/// The parts, for copies of many pieces that end together: StreamBytes bypasses the cache whatever the size, and what it wrote
/// is ordered before later stores only by StreamFence.
void StreamBytes(void* target, const void* source, size_t bytes) noexcept;
void StreamFence() noexcept;
/// StreamBytes that also extends `crc`.
uint32_t StreamBytesCrc32c(void* target, const void* source, size_t bytes, uint32_t crc) noexcept;
/// The same through the cache, for targets that are small enough to be found there by their next reader.
uint32_t CacheBytesCrc32c(void* target, const void* source, size_t bytes, uint32_t crc) noexcept;

/// Memory of at most so many bytes stays in the last-level cache while it is used over and over: a quarter of that cache, for it is
/// shared with everything else. 0 where its size is not known.
uint64_t CacheResidentBytes() noexcept;

}  // namespace kvferry

#endif  // KVFERRY_CORE_MEMORY_COPY_H_
