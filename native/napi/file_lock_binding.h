// lockFile and unlockFile of src/native/binding.ts.
#ifndef KVFERRY_NAPI_FILE_LOCK_BINDING_H_
#define KVFERRY_NAPI_FILE_LOCK_BINDING_H_

#include "napi_setup.h"

namespace kvferry {

void InitFileLock(Napi::Env env, Napi::Object exports);

}  // namespace kvferry

#endif  // KVFERRY_NAPI_FILE_LOCK_BINDING_H_
