// plainCopyLoop and copyBench of src/native/binding.ts.
#ifndef KVFERRY_NAPI_BENCH_BINDING_H_
#define KVFERRY_NAPI_BENCH_BINDING_H_

#include "napi_setup.h"

namespace kvferry {

void InitBench(Napi::Env env, Napi::Object exports);

}  // namespace kvferry

#endif  // KVFERRY_NAPI_BENCH_BINDING_H_
