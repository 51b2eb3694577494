// CRC-32C (Castagnoli, reflected, as in iSCSI, ext4 and RFC 3720): the checksum of every object, wherever it rests.
//
// Values are the usual finalised ones: Crc32c("123456789") == 0xe3069283, and Crc32c of nothing is 0. The fastest
// implementation that this processor has is chosen once, at first use; Crc32cImplementation() names it.
//
// Thread safety: every function may be called from any thread.
#ifndef KVFERRY_CORE_CRC32C_H_
#define KVFERRY_CORE_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace kvferry {

/// The checksum of `a` followed by `data`, where `crc` is the checksum of `a`.
uint32_t Crc32cExtend(uint32_t crc, const void* data, size_t bytes) noexcept;

inline uint32_t Crc32c(const void* data, size_t bytes) noexcept { return Crc32cExtend(0, data, bytes); }

/// The checksum of a followed by b from their checksums and the length of b, in O(log bytes_b).
uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t bytes_b) noexcept;

/// For doctor and bug reports: "avx512-vpclmulqdq", "sse4.2", "armv8-crc" or "software".
const char* Crc32cImplementation() noexcept;

/// The crc instruction without vectors, where there is one; tests compare it with the others.
uint32_t Crc32cScalar(uint32_t crc, const void* data, size_t bytes) noexcept;

/// The table-driven implementation, whatever the processor offers; tests compare the others with it.
uint32_t Crc32cSoftware(uint32_t crc, const void* data, size_t bytes) noexcept;

}  // namespace kvferry

#endif  // KVFERRY_CORE_CRC32C_H_
