#include "cpu_device_binding.h"

#include <string>
#include <utility>
#include <vector>

#include "arena_binding.h"
#include "arguments.h"
#include "engine_binding.h"
#include "env_data.h"

namespace kvferry {
namespace {

constexpr uint64_t kMostInteger = (uint64_t{1} << 53) - 1;

uint64_t Field(const Napi::Object& object, const char* name, uint64_t most = kMostInteger) { return IntegerArgument(object.Get(name), name, 0, most); }
uint32_t Field32(const Napi::Object& object, const char* name) { return static_cast<uint32_t>(Field(object, name, UINT32_MAX)); }

}  // namespace

void CpuDeviceBinding::Init(Napi::Env env, Napi::Object exports) {
  exports.Set("CpuDevice", DefineClass(env, "CpuDevice",
                                       {
                                           InstanceMethod<&CpuDeviceBinding::RegisterMemory>("registerMemory"),
                                           InstanceMethod<&CpuDeviceBinding::UnregisterMemory>("unregisterMemory"),
                                           InstanceMethod<&CpuDeviceBinding::RegisterLayout>("registerLayout"),
                                           InstanceMethod<&CpuDeviceBinding::UnregisterLayout>("unregisterLayout"),
                                           InstanceMethod<&CpuDeviceBinding::ImageBytes>("imageBytes"),
                                           InstanceMethod<&CpuDeviceBinding::Gather>("gather"),
                                           InstanceMethod<&CpuDeviceBinding::Scatter>("scatter"),
                                           InstanceMethod<&CpuDeviceBinding::Close>("close"),
                                       }));
}

CpuDeviceBinding::CpuDeviceBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CpuDeviceBinding>(info) {
  std::shared_ptr<Engine> engine = EngineBinding::FromArgument(info[0], "engine");
  if (engine->closed()) ThrowIfFailed(info.Env(), Status::Closed("the engine is closed"));
  device_ = std::make_unique<CpuDevice>(std::move(engine));
  TagObject(info.This().As<Napi::Object>(), WrappedClass::kCpuDevice);
}

CpuDeviceBinding::~CpuDeviceBinding() {
  if (device_ == nullptr || device_->InFlight() == 0) return;
  for (auto& [id, reference] : memory_) reference.SuppressDestruct();
}

Napi::Value CpuDeviceBinding::RegisterMemory(const Napi::CallbackInfo& info) {
  const Span<uint8_t> memory = SharedUint8ArrayArgument(info[0], "memory");
  uint32_t region_id = 0;
  ThrowIfFailed(info.Env(), device_->RegisterMemory(memory.data, memory.length, &region_id));
  memory_[region_id] = Napi::Persistent(info[0].As<Napi::Object>());
  return Napi::Number::New(info.Env(), region_id);
}

void CpuDeviceBinding::UnregisterMemory(const Napi::CallbackInfo& info) {
  const uint32_t region_id = Uint32Argument(info[0], "regionId");
  ThrowIfFailed(info.Env(), device_->UnregisterMemory(region_id));
  memory_.erase(region_id);
}

Napi::Value CpuDeviceBinding::RegisterLayout(const Napi::CallbackInfo& info) {
  const Napi::Object object = ObjectArgument(info[0], "layout");
  const Span<uint32_t> ids = Uint32ArrayArgument(object.Get("regionIds"), "regionIds");
  const std::vector<uint32_t> region_ids(ids.data, ids.data + ids.length);
  const Span<double> offsets = Float64ArrayArgument(object.Get("regionOffsets"), "regionOffsets");
  const std::vector<double> region_offsets(offsets.data, offsets.data + offsets.length);
  KvLayoutSpec spec;
  spec.layers = Field32(object, "layers");
  spec.planes = Field32(object, "planes");
  spec.heads = Field32(object, "heads");
  spec.head_bytes = Field(object, "headBytes");
  spec.block_tokens = Field32(object, "blockTokens");
  spec.chunk_tokens = Field32(object, "chunkTokens");
  spec.block_count = Field32(object, "blockCount");
  spec.block_stride = Field(object, "blockStride");
  spec.plane_stride = Field(object, "planeStride");
  spec.layer_stride = Field(object, "layerStride");
  spec.token_stride = Field(object, "tokenStride");
  spec.head_stride = Field(object, "headStride");
  spec.pointer_mode = static_cast<PointerMode>(Field32(object, "pointerMode"));
  uint32_t layout_id = 0;
  ThrowIfFailed(info.Env(), device_->RegisterLayout(std::move(spec), region_ids, region_offsets, &layout_id));
  return Napi::Number::New(info.Env(), layout_id);
}

void CpuDeviceBinding::UnregisterLayout(const Napi::CallbackInfo& info) { ThrowIfFailed(info.Env(), device_->UnregisterLayout(Uint32Argument(info[0], "layoutId"))); }

Napi::Value CpuDeviceBinding::ImageBytes(const Napi::CallbackInfo& info) {
  uint64_t bytes = 0;
  ThrowIfFailed(info.Env(), device_->ImageBytes(Uint32Argument(info[0], "layoutId"), &bytes));
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

void CpuDeviceBinding::Gather(const Napi::CallbackInfo& info) {
  EnvData& data = EnvData::Of(info.Env());
  const uint32_t op_id = Uint32Argument(info[0], "opId");
  const uint32_t layout_id = Uint32Argument(info[1], "layoutId");
  const std::shared_ptr<Arena> arena = ArenaBinding::FromArgument(info[2], "arena");
  CopySlotRefs(info[3], "refs", &data.refs);
  const Span<int32_t> span = Int32ArrayArgument(info[4], "blockIds");
  const std::vector<int32_t> block_ids(span.data, span.data + span.length);
  ThrowIfFailed(info.Env(), device_->Gather(op_id, layout_id, arena, data.refs.data(), data.refs.size(), block_ids));
}

void CpuDeviceBinding::Scatter(const Napi::CallbackInfo& info) {
  EnvData& data = EnvData::Of(info.Env());
  const uint32_t op_id = Uint32Argument(info[0], "opId");
  const uint32_t layout_id = Uint32Argument(info[1], "layoutId");
  const std::shared_ptr<Arena> arena = ArenaBinding::FromArgument(info[2], "arena");
  CopySlotRefs(info[3], "refs", &data.refs);
  const Span<int32_t> span = Int32ArrayArgument(info[4], "blockIds");
  const std::vector<int32_t> block_ids(span.data, span.data + span.length);
  const uint32_t skip_tokens = Uint32Argument(info[5], "skipTokens");
  ThrowIfFailed(info.Env(), device_->Scatter(op_id, layout_id, arena, data.refs.data(), data.refs.size(), block_ids, skip_tokens));
}

void CpuDeviceBinding::Close(const Napi::CallbackInfo& info) {
  ThrowIfFailed(info.Env(), device_->Close());
  memory_.clear();
}

}  // namespace kvferry
