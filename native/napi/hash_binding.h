// crc32c, blake3 and chunkHashes of src/native/binding.ts.
#ifndef KVFERRY_NAPI_HASH_BINDING_H_
#define KVFERRY_NAPI_HASH_BINDING_H_

#include "napi_setup.h"

namespace kvferry {

void InitHashes(Napi::Env env, Napi::Object exports);

}  // namespace kvferry

#endif  // KVFERRY_NAPI_HASH_BINDING_H_
