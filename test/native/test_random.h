// Randomness for the native tests: seeded from KVFERRY_TEST_SEED or the clock, and printed, so that a failure can be repeated.
#ifndef KVFERRY_TEST_NATIVE_TEST_RANDOM_H_
#define KVFERRY_TEST_NATIVE_TEST_RANDOM_H_

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace kvferry {

class TestRandom {
 public:
  TestRandom() {
    const char* const given = std::getenv("KVFERRY_TEST_SEED");
    seed_ = given != nullptr ? std::strtoull(given, nullptr, 10) : static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    engine_.seed(seed_);
    std::printf("KVFERRY_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed_));
  }

  /// 0 .. bound - 1.
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(engine_() % bound); }
  uint64_t Next() { return engine_(); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }

 private:
  uint64_t seed_ = 0;
  std::mt19937_64 engine_;
};

}  // namespace kvferry

#endif  // KVFERRY_TEST_NATIVE_TEST_RANDOM_H_
