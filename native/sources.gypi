{
  "variables": {
    "kvferry_core_sources": [
      "native/core/arena.cc",
      "native/core/compaction.cc",
      "native/core/completion_ring.cc",
      "native/core/crc32c.cc",
      "native/core/engine.cc",
      "native/core/extent_allocator.cc",
      "native/core/memory_copy.cc",
      "native/core/memory_reservation.cc",
      "native/core/slot_table.cc",
      "native/core/status.cc",
      "native/core/thread_pool.cc"
    ],
    "kvferry_napi_sources": [
    ]
  }
}
