#include "object_files_binding.h"

#include <string.h>

#include <string>
#include <utility>
#include <vector>

#include "arena_binding.h"
#include "arguments.h"
#include "engine_binding.h"
#include "env_data.h"

namespace kvferry {
namespace {

DirectIo DirectIoOption(const Napi::Object& options) {
  const std::string name = StringOption(options, "directIo", "auto");
  if (name == "auto") return DirectIo::kAuto;
  if (name == "on") return DirectIo::kOn;
  if (name == "off") return DirectIo::kOff;
  ThrowRangeError(options.Env(), "directIo is \"" + name + "\"; auto, on or off is wanted");
}

Napi::Float64Array NumbersOf(Napi::Env env, const std::vector<double>& values) {
  Napi::Float64Array array = Napi::Float64Array::New(env, values.size());
  if (!values.empty()) memcpy(array.Data(), values.data(), values.size() * sizeof(double));
  return array;
}

Napi::Value InspectFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const ObjectFileReport report = InspectObjectFile(StringArgument(info[0], "path"));
  const ObjectHeader& header = report.header;
  Napi::Object object = Napi::Object::New(env);
  object.Set("intact", report.problem.empty());
  object.Set("problem", report.problem);
  object.Set("formatVersion", header.format_version);
  object.Set("payloadBytes", static_cast<double>(header.payload_bytes));
  object.Set("chunkHashHex", ToHex(header.key.chunk_hash.data(), kDigestBytes));
  object.Set("kvRank", header.key.kv_rank);
  object.Set("objectGroupId", header.key.group_id);
  object.Set("namespaceDigestHex", ToHex(header.key.namespace_digest.data(), kDigestBytes));
  object.Set("namespaceDescription", header.description);
  object.Set("payloadCrc32c", header.padded_crc);
  object.Set("writtenAtMs", static_cast<double>(header.written_at_ms));
  return object;
}

/// What store and load share: opId, arena, refs, records.
struct SlotCall {
  uint32_t op_id;
  std::shared_ptr<Arena> arena;
  std::vector<SlotRef>& refs;
  Span<uint8_t> records;

  explicit SlotCall(const Napi::CallbackInfo& info)
      : op_id(Uint32Argument(info[0], "opId")),
        arena(ArenaBinding::FromArgument(info[1], "arena")),
        refs(EnvData::Of(info.Env()).refs),
        records(Uint8ArrayArgument(info[3], "records")) {
    CopySlotRefs(info[2], "refs", &refs);
  }
};

}  // namespace

void ObjectFilesBinding::Init(Napi::Env env, Napi::Object exports) {
  exports.Set("ObjectFiles", DefineClass(env, "ObjectFiles",
                                         {
                                             InstanceMethod<&ObjectFilesBinding::RegisterNamespace>("registerNamespace"),
                                             InstanceMethod<&ObjectFilesBinding::DirectIoState>("directIoState"),
                                             InstanceMethod<&ObjectFilesBinding::Digests>("digests"),
                                             InstanceMethod<&ObjectFilesBinding::Store>("store"),
                                             InstanceMethod<&ObjectFilesBinding::Load>("load"),
                                             InstanceMethod<&ObjectFilesBinding::Remove>("remove"),
                                             InstanceMethod<&ObjectFilesBinding::Scan>("scan"),
                                             InstanceMethod<&ObjectFilesBinding::TakeScan>("takeScan"),
                                             InstanceMethod<&ObjectFilesBinding::FileBytesFor>("fileBytesFor"),
                                             InstanceMethod<&ObjectFilesBinding::Inspect>("inspect"),
                                             InstanceMethod<&ObjectFilesBinding::Close>("close"),
                                         }));
  exports.Set("inspectObjectFile", Napi::Function::New<InspectFile>(env, "inspectObjectFile"));
}

ObjectFilesBinding::ObjectFilesBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ObjectFilesBinding>(info) {
  std::shared_ptr<Engine> engine = EngineBinding::FromArgument(info[0], "engine");
  const Napi::Object object = ObjectArgument(info[1], "options");
  ObjectFilesOptions options;
  options.base_path = StringArgument(object.Get("basePath"), "basePath");
  if (options.base_path.empty() || options.base_path.find('\0') != std::string::npos) ThrowRangeError(info.Env(), "basePath is empty or holds a NUL; the path of an existing directory is wanted");
  options.direct_io = DirectIoOption(object);
  options.fsync = BooleanOption(object, "fsync", false);
  ThrowIfFailed(info.Env(), ObjectFiles::Open(std::move(engine), options, &files_));
  TagObject(info.This().As<Napi::Object>(), WrappedClass::kObjectFiles);
}

void ObjectFilesBinding::RegisterNamespace(const Napi::CallbackInfo& info) {
  const uint32_t id = Uint32Argument(info[0], "namespaceId");
  const Span<uint8_t> digest_bytes = Uint8ArrayArgument(info[1], "digest32");
  if (digest_bytes.length != kDigestBytes) ThrowRangeError(info.Env(), "digest32 has " + std::to_string(digest_bytes.length) + " bytes; 32 are wanted");
  Digest digest;
  memcpy(digest.data(), digest_bytes.data, kDigestBytes);
  const Span<uint8_t> description = Uint8ArrayArgument(info[2], "description");
  ThrowIfFailed(info.Env(), files_->RegisterNamespace(id, digest, std::string(reinterpret_cast<const char*>(description.data), description.length)));
}

Napi::Value ObjectFilesBinding::DirectIoState(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  const ObjectFiles::DirectIo direct_io = files_->direct_io();
  object.Set("used", direct_io.used);
  object.Set("reason", direct_io.reason);
  return object;
}

void ObjectFilesBinding::Digests(const Napi::CallbackInfo& info) {
  const Span<uint8_t> records = Uint8ArrayArgument(info[0], "records");
  const Span<uint8_t> out = Uint8ArrayArgument(info[1], "out");
  CheckLength(info.Env(), "out", out.length, records.length / kKeyRecordBytes * 16);
  ThrowIfFailed(info.Env(), files_->Digests(records.data, records.length, out.data));
}

void ObjectFilesBinding::Store(const Napi::CallbackInfo& info) {
  const SlotCall call(info);
  ThrowIfFailed(info.Env(), files_->Store(call.op_id, call.arena, call.refs.data(), call.refs.size(), call.records.data, call.records.length));
}

void ObjectFilesBinding::Load(const Napi::CallbackInfo& info) {
  const SlotCall call(info);
  ThrowIfFailed(info.Env(), files_->Load(call.op_id, call.arena, call.refs.data(), call.refs.size(), call.records.data, call.records.length));
}

void ObjectFilesBinding::Remove(const Napi::CallbackInfo& info) {
  const uint32_t op_id = Uint32Argument(info[0], "opId");
  const Span<uint8_t> identities = Uint8ArrayArgument(info[1], "identities");
  ThrowIfFailed(info.Env(), files_->Remove(op_id, identities.data, identities.length));
}

void ObjectFilesBinding::Scan(const Napi::CallbackInfo& info) {
  ThrowIfFailed(info.Env(), files_->Scan(Uint32Argument(info[0], "opId"), Uint32Argument(info[1], "firstShard"), Uint32Argument(info[2], "shardCount")));
}

Napi::Value ObjectFilesBinding::TakeScan(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  ScanRows rows;
  ThrowIfFailed(env, files_->TakeScan(Uint32Argument(info[0], "opId"), &rows));
  Napi::Uint8Array identities = Napi::Uint8Array::New(env, rows.identities.size() * kIdentityBytes);
  if (!rows.identities.empty()) memcpy(identities.Data(), rows.identities.data(), rows.identities.size() * kIdentityBytes);
  Napi::Object object = Napi::Object::New(env);
  object.Set("identities", identities);
  object.Set("fileBytes", NumbersOf(env, rows.file_bytes));
  object.Set("modifiedMs", NumbersOf(env, rows.modified_ms));
  object.Set("temporaryDeleted", static_cast<double>(rows.temporary_deleted));
  object.Set("foreignFiles", static_cast<double>(rows.foreign_files));
  return object;
}

Napi::Value ObjectFilesBinding::FileBytesFor(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(ObjectFileBytes(IntegerArgument(info[0], "payloadBytes", 0, UINT32_MAX))));
}

Napi::Value ObjectFilesBinding::Inspect(const Napi::CallbackInfo& info) { return InspectFile(info); }

void ObjectFilesBinding::Close(const Napi::CallbackInfo&) { files_->Close(); }

}  // namespace kvferry
