#include "arena_binding.h"

#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "env_data.h"

namespace kvferry {
namespace {

constexpr uint64_t kMostInteger = (uint64_t{1} << 53) - 1;

const char* HugePagesText(HugePageState state) {
  switch (state) {
    case HugePageState::kOn:
      return "on";
    case HugePageState::kRefused:
      return "refused";
    default:
      return "off";
  }
}

std::vector<SlotRef>& Refs(const Napi::CallbackInfo& info) {
  std::vector<SlotRef>& refs = EnvData::Of(info.Env()).refs;
  CopySlotRefs(info[0], "refs", &refs);
  return refs;
}

Napi::Number NumberOf(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

}  // namespace

void ArenaBinding::Init(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(env, "Arena",
                                           {
                                             InstanceMethod<&ArenaBinding::UsedBytes>("usedBytes"),
                                             InstanceMethod<&ArenaBinding::Allocate>("allocate"),
                                             InstanceMethod<&ArenaBinding::Free>("free"),
                                             InstanceMethod<&ArenaBinding::BeginIo>("beginIo"),
                                             InstanceMethod<&ArenaBinding::EndIo>("endIo"),
                                             InstanceMethod<&ArenaBinding::Seal>("seal"),
                                             InstanceMethod<&ArenaBinding::Write>("write"),
                                             InstanceMethod<&ArenaBinding::Read>("read"),
                                             InstanceMethod<&ArenaBinding::Checksums>("checksums"),
                                             InstanceMethod<&ArenaBinding::Offsets>("offsets"),
                                             InstanceMethod<&ArenaBinding::Stats>("stats"),
                                             InstanceMethod<&ArenaBinding::Close>("close"),
                                           });
  DefineGetter<&ArenaBinding::CapacityBytes>(constructor, "capacityBytes");
  DefineGetter<&ArenaBinding::AlignBytes>(constructor, "alignBytes");
  exports.Set("Arena", constructor);
}

std::shared_ptr<Arena> ArenaBinding::FromArgument(const Napi::Value& value, const char* name) { return Unwrap(CheckTag(value, WrappedClass::kArena, name, "Arena"))->arena_; }

ArenaBinding::ArenaBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ArenaBinding>(info) {
  const Napi::Object object = ObjectArgument(info[0], "options");
  ArenaOptions options;
  options.size_bytes = IntegerArgument(object.Get("sizeBytes"), "sizeBytes", 1, kMostInteger);
  options.segment_bytes = IntegerOption(object, "segmentBytes", 1, kMostInteger, options.segment_bytes);
  options.huge_pages = BooleanOption(object, "hugePages", options.huge_pages);
  options.shared_name = StringOption(object, "sharedName", "");
  if (options.shared_name.empty() && !object.Get("sharedName").IsUndefined()) ThrowRangeError(info.Env(), "sharedName is empty; a name or undefined is wanted");
  options.align_bytes = static_cast<uint32_t>(IntegerOption(object, "alignBytes", 1, UINT32_MAX, options.align_bytes));
  options.populate_ahead_bytes = IntegerOption(object, "populateAheadBytes", 0, kMostInteger, 0);
  ThrowIfFailed(info.Env(), Arena::Open(options, &arena_));
  TagObject(info.This().As<Napi::Object>(), WrappedClass::kArena);
}

Napi::Value ArenaBinding::CapacityBytes(const Napi::CallbackInfo& info) { return NumberOf(info.Env(), FromArgument(info.This(), "this")->capacity_bytes()); }
Napi::Value ArenaBinding::AlignBytes(const Napi::CallbackInfo& info) { return NumberOf(info.Env(), FromArgument(info.This(), "this")->align_bytes()); }
Napi::Value ArenaBinding::UsedBytes(const Napi::CallbackInfo& info) { return NumberOf(info.Env(), arena_->UsedBytes()); }

Napi::Value ArenaBinding::Allocate(const Napi::CallbackInfo& info) {
  const uint64_t size_bytes = IntegerArgument(info[0], "sizeBytes", 0, kMostInteger);
  const uint32_t count = Uint32Argument(info[1], "count");
  const Span<uint32_t> out = Uint32ArrayArgument(info[2], "outRefs");
  CheckLength(info.Env(), "outRefs", out.length, size_t{count} * 2);
  uint32_t taken = 0;
  ThrowIfFailed(info.Env(), arena_->Allocate(size_bytes, count, reinterpret_cast<SlotRef*>(out.data), &taken));
  return Napi::Number::New(info.Env(), taken);
}

Napi::Value ArenaBinding::Free(const Napi::CallbackInfo& info) {
  const std::vector<SlotRef>& refs = Refs(info);
  uint64_t returned_bytes = 0;
  ThrowIfFailed(info.Env(), arena_->Free(refs.data(), refs.size(), &returned_bytes));
  return NumberOf(info.Env(), returned_bytes);
}

void ArenaBinding::BeginIo(const Napi::CallbackInfo& info) {
  const std::vector<SlotRef>& refs = Refs(info);
  ThrowIfFailed(info.Env(), arena_->BeginIo(refs.data(), refs.size()));
}

void ArenaBinding::EndIo(const Napi::CallbackInfo& info) {
  const std::vector<SlotRef>& refs = Refs(info);
  ThrowIfFailed(info.Env(), arena_->EndIo(refs.data(), refs.size()));
}

Napi::Value ArenaBinding::Seal(const Napi::CallbackInfo& info) {
  const std::vector<SlotRef>& refs = Refs(info);
  uint32_t in_io = 0;
  ThrowIfFailed(info.Env(), arena_->Seal(refs.data(), refs.size(), &in_io));
  return Napi::Number::New(info.Env(), in_io);
}

void ArenaBinding::Write(const Napi::CallbackInfo& info) {
  const SlotRef ref{Uint32Argument(info[0], "index"), Uint32Argument(info[1], "generation")};
  const uint64_t offset = IntegerArgument(info[2], "offset", 0, kMostInteger);
  const Span<uint8_t> bytes = Uint8ArrayArgument(info[3], "bytes");
  ThrowIfFailed(info.Env(), arena_->Write(ref, offset, bytes.data, bytes.length));
}

void ArenaBinding::Read(const Napi::CallbackInfo& info) {
  const SlotRef ref{Uint32Argument(info[0], "index"), Uint32Argument(info[1], "generation")};
  const uint64_t offset = IntegerArgument(info[2], "offset", 0, kMostInteger);
  const Span<uint8_t> out = Uint8ArrayArgument(info[3], "out");
  ThrowIfFailed(info.Env(), arena_->Read(ref, offset, out.data, out.length));
}

void ArenaBinding::Checksums(const Napi::CallbackInfo& info) {
  const std::vector<SlotRef>& refs = Refs(info);
  const Span<uint32_t> out = Uint32ArrayArgument(info[1], "out");
  CheckLength(info.Env(), "out", out.length, refs.size());
  ThrowIfFailed(info.Env(), arena_->Checksums(refs.data(), refs.size(), out.data));
}

void ArenaBinding::Offsets(const Napi::CallbackInfo& info) {
  const std::vector<SlotRef>& refs = Refs(info);
  const Span<double> out = Float64ArrayArgument(info[1], "out");
  CheckLength(info.Env(), "out", out.length, refs.size());
  ThrowIfFailed(info.Env(), arena_->Offsets(refs.data(), refs.size(), out.data));
}

Napi::Value ArenaBinding::Stats(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const bool measure_populated = !info[0].IsBoolean() || info[0].As<Napi::Boolean>().Value();
  const ArenaStats stats = arena_->Stats(measure_populated);
  Napi::Object object = Napi::Object::New(env);
  object.Set("capacityBytes", NumberOf(env, stats.capacity_bytes));
  object.Set("usedBytes", NumberOf(env, stats.used_bytes));
  object.Set("drainingBytes", NumberOf(env, stats.draining_bytes));
  object.Set("slotCount", NumberOf(env, stats.slot_count));
  object.Set("slotsInIo", NumberOf(env, stats.slots_in_io));
  object.Set("largestFreeBytes", NumberOf(env, stats.largest_free_bytes));
  object.Set("compactedBytes", NumberOf(env, stats.compacted_bytes));
  object.Set("compactions", NumberOf(env, stats.compactions));
  object.Set("allocationFailures", NumberOf(env, stats.allocation_failures));
  object.Set("segmentCount", NumberOf(env, stats.segment_count));
  object.Set("hugePages", HugePagesText(stats.huge_pages));
  object.Set("sharedName", stats.shared_name.empty() ? env.Null() : Napi::String::New(env, stats.shared_name));
  object.Set("populatedBytes", Napi::Number::New(env, static_cast<double>(stats.populated_bytes)));
  object.Set("bookkeepingBytes", NumberOf(env, stats.bookkeeping_bytes));
  return object;
}

void ArenaBinding::Close(const Napi::CallbackInfo& info) { ThrowIfFailed(info.Env(), arena_->Close()); }

}  // namespace kvferry
