#include "bench_binding.h"

#include "arguments.h"
#include "copy_bench.h"
#include "plain_copy_loop.h"

namespace kvferry {
namespace {

Napi::Value PlainCopyLoopOf(const Napi::CallbackInfo& info) {
  const Napi::Object given = ObjectArgument(info[0], "options");
  constexpr uint64_t kMost = uint64_t{1} << 50;
  PlainCopyLoopOptions options;
  options.objects = IntegerOption(given, "objects", 1, kMost, 0);
  options.object_bytes = IntegerOption(given, "objectBytes", 1, kMost, 0);
  const auto source = Uint8ArrayArgument(given.Get("source"), "source");
  options.source = source.data;
  options.source_bytes = source.length;
  options.l1_bytes = IntegerOption(given, "l1Bytes", 1, kMost, 0);
  options.l2_bytes = IntegerOption(given, "l2Bytes", 1, kMost, 0);
  options.threads = static_cast<uint32_t>(IntegerOption(given, "threads", 1, 1024, 0));
  PlainCopyLoopResult result;
  ThrowIfFailed(info.Env(), RunPlainCopyLoop(options, &result));
  return Napi::Number::New(info.Env(), result.seconds);
}

Napi::Value CopyBenchOf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object given = ObjectArgument(info[0], "options");
  CopyBenchOptions options;
  options.layers = static_cast<uint32_t>(IntegerOption(given, "layers", 1, UINT32_MAX, 0));
  options.heads = static_cast<uint32_t>(IntegerOption(given, "heads", 1, UINT32_MAX, 0));
  options.head_bytes = IntegerOption(given, "headBytes", 1, UINT32_MAX, 0);
  options.block_tokens = static_cast<uint32_t>(IntegerOption(given, "blockTokens", 1, UINT32_MAX, 0));
  options.chunk_tokens = static_cast<uint32_t>(IntegerOption(given, "chunkTokens", 1, UINT32_MAX, 0));
  options.head_major = BooleanOption(given, "headMajor", false);
  options.objects = static_cast<uint32_t>(IntegerOption(given, "objects", 1, 1 << 20, 0));
  options.rounds = static_cast<uint32_t>(IntegerOption(given, "rounds", 1, 1000, 0));
  CopyBenchResult result;
  ThrowIfFailed(env, RunCopyBench(options, &result));
  Napi::Array rounds = Napi::Array::New(env, result.rounds.size());
  for (uint32_t i = 0; i < result.rounds.size(); ++i) {
    Napi::Object round = Napi::Object::New(env);
    round.Set("memcpyPieces", result.rounds[i].memcpy_pieces);
    round.Set("memcpyWhole", result.rounds[i].memcpy_whole);
    round.Set("gather", result.rounds[i].gather);
    round.Set("scatter", result.rounds[i].scatter);
    round.Set("crc32c", result.rounds[i].crc32c);
    rounds.Set(i, round);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("objectBytes", static_cast<double>(result.object_bytes));
  object.Set("pieceBytes", static_cast<double>(result.piece_bytes));
  object.Set("rounds", rounds);
  object.Set("equal", result.equal);
  return object;
}

}  // namespace

void InitBench(Napi::Env env, Napi::Object exports) {
  exports.Set("plainCopyLoop", Napi::Function::New<PlainCopyLoopOf>(env, "plainCopyLoop"));
  exports.Set("copyBench", Napi::Function::New<CopyBenchOf>(env, "copyBench"));
}

}  // namespace kvferry
