{
  # The fallback build, for a host with Python and a compiler but no CMake: plain C++, no CUDA sources. See docs/building.md.
  "includes": ["native/sources.gypi"],
  "targets": [
    {
      "target_name": "kvferry",
      "sources": ["<@(kvferry_core_sources)", "<@(kvferry_napi_sources)"],
      "include_dirs": [
        "native/core",
        "native/napi",
        "native",
        "<!(node -p \"require('node-addon-api').include_dir\")",
        "<!(node -p \"require('node-api-headers').include_dir\")"
      ],
      "defines": ["NAPI_VERSION=9", "KVFERRY_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "cflags": ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-fvisibility=hidden", "-fno-strict-aliasing", "-ffunction-sections", "-fdata-sections"],
      "cflags_cc!": ["-fno-rtti", "-fno-exceptions", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++17", "-fexceptions", "-fvisibility-inlines-hidden"],
      "conditions": [
        ["OS=='linux'", {
          "ldflags": ["-Wl,--version-script=<(module_root_dir)/native/exports.map", "-Wl,--gc-sections", "-s", "-pthread"],
          "libraries": ["-ldl", "-lrt"]
        }]
      ]
    }
  ]
}
