// What this processor, and the system it runs, can do. CPUID is asked here and not through __builtin_cpu_supports, whose table
// is missing from some compiler runtimes that prebuilt binaries are linked with (Zig's).
//
// Thread safety: any thread.
#ifndef KVFERRY_CORE_CPU_FEATURES_H_
#define KVFERRY_CORE_CPU_FEATURES_H_

#if defined(__x86_64__)

#include <cpuid.h>

#include <cstdint>

namespace kvferry::cpu_features {

inline bool HasSse42() noexcept {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_SSE4_2) != 0;
}

/// AVX-512 F and VL, VPCLMULQDQ, and a system that saves the wide registers.
inline bool HasAvx512Clmul() noexcept {
  constexpr unsigned kOsXsave = 1u << 27;
  constexpr unsigned kAvx512F = 1u << 16;
  constexpr unsigned kAvx512Vl = 1u << 31;
  constexpr unsigned kVpclmulqdq = 1u << 10;
  // SSE, AVX and the three parts of AVX-512 state.
  constexpr uint32_t kWideState = 0xe6;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsXsave) == 0) return false;
  uint32_t state_low = 0;
  uint32_t state_high = 0;
  __asm__("xgetbv" : "=a"(state_low), "=d"(state_high) : "c"(0));
  if ((state_low & kWideState) != kWideState) return false;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (ebx & kAvx512F) != 0 && (ebx & kAvx512Vl) != 0 && (ecx & kVpclmulqdq) != 0 && HasSse42();
}

}  // namespace kvferry::cpu_features

#endif  // x86-64

#endif  // KVFERRY_CORE_CPU_FEATURES_H_
