#include "engine_binding.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "arena_binding.h"
#include "arguments.h"
#include "env_data.h"
#include "slot_jobs.h"

namespace kvferry {
namespace {

constexpr uint32_t kMostThreads = 256;

FileEngineChoice FileEngineOption(const Napi::Object& options) {
  const std::string name = StringOption(options, "fileEngine", "auto");
  if (name == "auto") return FileEngineChoice::kAuto;
  if (name == "io_uring") return FileEngineChoice::kIoUring;
  if (name == "threads") return FileEngineChoice::kThreads;
  ThrowRangeError(options.Env(), "fileEngine is \"" + name + "\"; auto, io_uring or threads is wanted");
}

EngineOptions OptionsOf(const Napi::Value& value) {
  EngineOptions options;
  const uint32_t cores = std::max(1u, std::thread::hardware_concurrency());
  options.copy_threads = std::min(options.copy_threads, cores);
  if (value.IsUndefined()) return options;
  const Napi::Object object = ObjectArgument(value, "options");
  options.copy_threads = static_cast<uint32_t>(IntegerOption(object, "copyThreads", 1, kMostThreads, options.copy_threads));
  options.file_threads = static_cast<uint32_t>(IntegerOption(object, "fileThreads", 1, kMostThreads, options.file_threads));
  options.file_engine = FileEngineOption(object);
  options.file_bytes_in_flight = IntegerOption(object, "fileBytesInFlight", 1, (uint64_t{1} << 53) - 1, options.file_bytes_in_flight);
  options.stepped = BooleanOption(object, "stepped", false);
  return options;
}

Napi::Number NumberOf(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

}  // namespace

void EngineBinding::Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", DefineClass(env, "Engine",
                                    {
                                        InstanceMethod<&EngineBinding::OnWake>("onWake"),
                                        InstanceMethod<&EngineBinding::Drain>("drain"),
                                        InstanceMethod<&EngineBinding::NeededWords>("neededWords"),
                                        InstanceMethod<&EngineBinding::Step>("step"),
                                        InstanceMethod<&EngineBinding::Stats>("stats"),
                                        InstanceMethod<&EngineBinding::CopySlots>("copySlots"),
                                        InstanceMethod<&EngineBinding::ChecksumSlots>("checksumSlots"),
                                        InstanceMethod<&EngineBinding::Close>("close"),
                                    }));
}

std::shared_ptr<Engine> EngineBinding::FromArgument(const Napi::Value& value, const char* name) { return Unwrap(CheckTag(value, WrappedClass::kEngine, name, "Engine"))->core_.engine; }

void EngineBinding::Core::Shut() noexcept {
  if (shut || !engine) return;
  shut = true;
  gate.Shut();
  engine->Shutdown();
}

// One function for adding and removing: Node finds a hook by its address, and each lambda would have its own.
void EngineBinding::ShutCore(void* core) { static_cast<Core*>(core)->Shut(); }

EngineBinding::EngineBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineBinding>(info), env_(info.Env()) {
  ThrowIfFailed(info.Env(), Engine::Open(OptionsOf(info[0]), &core_.engine));
  TagObject(info.This().As<Napi::Object>(), WrappedClass::kEngine);
  core_.engine->SetWake([this] { core_.gate.Wake(); });
  core_.engine->SetBusyChanged([this](bool busy) {
    core_.gate.SetBusy(env_, busy);
    if (busy) {
      Ref();
    } else {
      Unref();
    }
  });
  // Hooks run last first, so ours comes before the end of anything that was there before this engine.
  hooked_ = napi_add_env_cleanup_hook(env_, &ShutCore, &core_) == napi_ok;
}

EngineBinding::~EngineBinding() {
  if (hooked_) napi_remove_env_cleanup_hook(env_, &ShutCore, &core_);
  core_.Shut();
}

void EngineBinding::OnWake(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction()) ThrowTypeError(info.Env(), "wake is not a function");
  if (core_.engine->closed()) ThrowIfFailed(info.Env(), Status::Closed("the engine is closed"));
  if (core_.engine->stepped()) return;
  core_.gate.Open(info.Env(), info[0].As<Napi::Function>());
  // What finished before there was anybody to call.
  if (core_.engine->NeededWords() > 0) core_.gate.Wake();
}

Napi::Value EngineBinding::Drain(const Napi::CallbackInfo& info) {
  const Span<int32_t> out = Int32ArrayArgument(info[0], "out");
  return NumberOf(info.Env(), core_.engine->Drain(out.data, out.length));
}

Napi::Value EngineBinding::NeededWords(const Napi::CallbackInfo& info) { return NumberOf(info.Env(), core_.engine->NeededWords()); }

Napi::Value EngineBinding::Step(const Napi::CallbackInfo& info) {
  const uint32_t count = Uint32Argument(info[0], "count");
  if (!core_.engine->stepped()) ThrowIfFailed(info.Env(), Status::Busy("step() is for engines opened with stepped: true; this one has threads"));
  return NumberOf(info.Env(), core_.engine->Step(count));
}

Napi::Value EngineBinding::Stats(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const EngineStats stats = core_.engine->Stats();
  Napi::Object object = Napi::Object::New(env);
  object.Set("fileEngine", stats.file_engine);
  object.Set("fileEngineReason", stats.file_engine_reason);
  object.Set("copyThreads", NumberOf(env, stats.copy_threads));
  object.Set("fileThreads", NumberOf(env, stats.file_threads));
  object.Set("pendingOps", NumberOf(env, stats.pending_operations));
  object.Set("fileBytesInFlight", NumberOf(env, stats.file_bytes_in_flight));
  object.Set("wakeUps", NumberOf(env, stats.wake_ups));
  object.Set("completions", NumberOf(env, stats.completions));
  return object;
}

void EngineBinding::CopySlots(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  EnvData& data = EnvData::Of(env);
  const uint32_t op_id = Uint32Argument(info[0], "opId");
  std::shared_ptr<Arena> source = ArenaBinding::FromArgument(info[1], "source");
  CopySlotRefs(info[2], "sourceRefs", &data.refs);
  std::shared_ptr<Arena> target = ArenaBinding::FromArgument(info[3], "target");
  CopySlotRefs(info[4], "targetRefs", &data.more_refs);
  const bool verify = BooleanArgument(info[5], "verify");
  if (data.refs.size() != data.more_refs.size()) {
    ThrowRangeError(env, "sourceRefs names " + std::to_string(data.refs.size()) + " slots and targetRefs " + std::to_string(data.more_refs.size()) + "; as many of both are wanted");
  }
  ThrowIfFailed(env, StartCopySlots(*core_.engine, op_id, std::move(source), data.refs.data(), std::move(target), data.more_refs.data(), data.refs.size(), verify));
}

void EngineBinding::ChecksumSlots(const Napi::CallbackInfo& info) {
  EnvData& data = EnvData::Of(info.Env());
  const uint32_t op_id = Uint32Argument(info[0], "opId");
  std::shared_ptr<Arena> arena = ArenaBinding::FromArgument(info[1], "arena");
  CopySlotRefs(info[2], "refs", &data.refs);
  ThrowIfFailed(info.Env(), StartChecksumSlots(*core_.engine, op_id, std::move(arena), data.refs.data(), data.refs.size()));
}

void EngineBinding::Close(const Napi::CallbackInfo& info) {
  ThrowIfFailed(info.Env(), core_.engine->Close());
  core_.Shut();
}

}  // namespace kvferry
