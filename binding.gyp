{
  "includes": ["native/sources.gypi"],
  "targets": [
    {
      "target_name": "kvferry",
      "sources": ["<@(kvferry_core_sources)", "<@(kvferry_napi_sources)"],
      "include_dirs": [
        "<!(node -p \"require('node-addon-api').include_dir\")",
        "native/core",
        "native/napi"
      ],
      "cflags_cc": ["-std=c++17", "-fvisibility=hidden", "-fno-strict-aliasing", "-Wall", "-Wextra"],
      "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20"],
      "ldflags": ["-Wl,--version-script=<(module_root_dir)/native/exports.map"],
      "libraries": ["-lrt", "-lpthread"]
    }
  ]
}
