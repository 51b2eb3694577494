#include "bench_binding.h"

#include "arguments.h"
#include "plain_copy_loop.h"

namespace kvferry {
namespace {

Napi::Value PlainCopyLoopOf(const Napi::CallbackInfo& info) {
  const Napi::Object given = ObjectArgument(info[0], "options");
  constexpr uint64_t kMost = uint64_t{1} << 50;
  PlainCopyLoopOptions options;
  options.objects = IntegerOption(given, "objects", 1, kMost, 0);
  options.object_bytes = IntegerOption(given, "objectBytes", 1, kMost, 0);
  options.source_bytes = IntegerOption(given, "sourceBytes", 1, kMost, 0);
  options.l1_bytes = IntegerOption(given, "l1Bytes", 1, kMost, 0);
  options.l2_bytes = IntegerOption(given, "l2Bytes", 1, kMost, 0);
  options.threads = static_cast<uint32_t>(IntegerOption(given, "threads", 1, 1024, 0));
  PlainCopyLoopResult result;
  ThrowIfFailed(info.Env(), RunPlainCopyLoop(options, &result));
  return Napi::Number::New(info.Env(), result.seconds);
}

}  // namespace

void InitBench(Napi::Env env, Napi::Object exports) { exports.Set("plainCopyLoop", Napi::Function::New<PlainCopyLoopOf>(env, "plainCopyLoop")); }

}  // namespace kvferry
