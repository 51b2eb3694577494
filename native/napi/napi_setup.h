// The one place that includes napi.h, with the switches that all bindings share.
#ifndef KVFERRY_NAPI_NAPI_SETUP_H_
#define KVFERRY_NAPI_NAPI_SETUP_H_

// 9 is what every supported Node has (20.3 and later); it selects behaviour, so it is fixed here and not by the build.
#undef NAPI_VERSION
#define NAPI_VERSION 9

#define NODE_ADDON_API_DISABLE_DEPRECATED
// Finalizers run inside the garbage collector and may not touch JavaScript: make that a compile error.
#define NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS
// std::bad_alloc becomes a JavaScript exception too, not the end of the process.
#define NODE_ADDON_API_CPP_EXCEPTIONS_ALL
// In a worker that is being terminated no exception can be thrown any more; without this, trying ends the process.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS

#include <napi.h>

#endif  // KVFERRY_NAPI_NAPI_SETUP_H_
