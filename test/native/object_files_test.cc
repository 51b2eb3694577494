// Object files: what was stored comes back or is a miss that says why; nothing incomplete is ever published; nothing is left
// behind. Real files throughout; faults are injected only where a test cannot bring the kernel to them.
#include "object_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "crc32c.h"
#include "engine_harness.h"
#include "test_random.h"

namespace kvferry {
namespace {

namespace fs = std::filesystem;
using Statuses = std::vector<int32_t>;

class Folder {
 public:
  Folder() {
    std::string name = testing::TempDir() + "kvferry-objects-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  std::string path;
};

std::vector<uint8_t> Record(uint8_t hash, uint32_t rank = 0, uint32_t group = 0, uint32_t namespace_id = 0) {
  std::vector<uint8_t> record(kKeyRecordBytes);
  memset(record.data(), hash, 32);
  memcpy(record.data() + 32, &namespace_id, 4);
  memcpy(record.data() + 36, &rank, 4);
  memcpy(record.data() + 40, &group, 4);
  return record;
}

std::vector<uint8_t> Pattern(size_t bytes, uint8_t seed) {
  std::vector<uint8_t> made(bytes);
  for (size_t i = 0; i < bytes; ++i) made[i] = static_cast<uint8_t>(seed + i * 7 + i / 253);
  return made;
}

Digest SomeDigest(uint8_t seed) {
  Digest digest;
  for (size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<uint8_t>(seed + i);
  return digest;
}

/// Engine, arena and object files of one directory.
class Store {
 public:
  explicit Store(const std::string& path, EngineOptions engine_options = {}, ObjectFilesOptions options = {}, const SystemCalls* calls = nullptr, uint64_t arena_bytes = uint64_t{64} << 20)
      : harness(engine_options, arena_bytes) {
    options.base_path = path;
    const Status status = ObjectFiles::Open(harness.engine, options, &files, calls);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(files->RegisterNamespace(0, SomeDigest(1), "{\"modelName\":\"test\"}").ok());
  }

  SlotRef Slot(const std::vector<uint8_t>& bytes) {
    const SlotRef ref = harness.Slots(bytes.size(), 1)[0];
    harness.Write(ref, bytes);
    return ref;
  }
  int32_t Put(const std::vector<uint8_t>& record, const std::vector<uint8_t>& bytes) {
    const SlotRef ref = Slot(bytes);
    const int32_t status = PutSlot(record, ref);
    Free(ref);
    return status;
  }
  int32_t PutSlot(const std::vector<uint8_t>& record, SlotRef ref) {
    const uint32_t op = harness.NextOp();
    EXPECT_TRUE(files->Store(op, harness.arena, &ref, 1, record.data(), record.size()).ok());
    return harness.Await(op).at(0);
  }
  /// Loads into a slot of `bytes` bytes; `*out` gets what the slot then holds.
  int32_t Get(const std::vector<uint8_t>& record, size_t bytes, std::vector<uint8_t>* out = nullptr) {
    const SlotRef ref = harness.Slots(bytes, 1)[0];
    harness.Write(ref, std::vector<uint8_t>(bytes, 0xab));
    const uint32_t op = harness.NextOp();
    EXPECT_TRUE(files->Load(op, harness.arena, &ref, 1, record.data(), record.size()).ok());
    const int32_t status = harness.Await(op).at(0);
    if (out != nullptr) *out = harness.Read(ref, bytes);
    uint32_t crc = 0;
    EXPECT_EQ(harness.arena->GetChecksum(ref.index, &crc), status == 0) << "a checksum exactly when the load succeeded";
    Free(ref);
    return status;
  }
  void Free(SlotRef ref) {
    uint64_t returned = 0;
    EXPECT_TRUE(harness.arena->Free(&ref, 1, &returned).ok());
  }
  std::string PathOf(const std::vector<uint8_t>& record) {
    uint8_t identity[kIdentityBytes];
    EXPECT_TRUE(files->Digests(record.data(), record.size(), identity).ok());
    memcpy(identity + 16, SomeDigest(1).data(), 4);
    return ObjectPath(identity);
  }
  ScanRows Scan(uint32_t first = 0, uint32_t count = 256) {
    const uint32_t op = harness.NextOp();
    EXPECT_TRUE(files->Scan(op, first, count).ok());
    EXPECT_EQ(harness.Await(op), Statuses{0});
    ScanRows rows;
    EXPECT_TRUE(files->TakeScan(op, &rows).ok());
    return rows;
  }

  EngineHarness harness;
  std::unique_ptr<ObjectFiles> files;
};

size_t FilesBelow(const std::string& path) {
  size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path)) count += !entry.is_directory();
  return count;
}

std::vector<uint8_t> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void WriteFile(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

/// Both engines, with O_DIRECT where there is one and without.
struct Mode {
  FileEngineChoice engine;
  DirectIo direct;
  const char* name;
};

class ObjectFilesTest : public testing::TestWithParam<Mode> {
 protected:
  EngineOptions Engine() const {
    EngineOptions options;
    options.file_engine = GetParam().engine;
    return options;
  }
  ObjectFilesOptions Files() const {
    ObjectFilesOptions options;
    options.direct_io = GetParam().direct;
    return options;
  }
  Folder folder_;
};

INSTANTIATE_TEST_SUITE_P(Modes, ObjectFilesTest,
                         testing::Values(Mode{FileEngineChoice::kAuto, DirectIo::kAuto, "AutoDirect"}, Mode{FileEngineChoice::kAuto, DirectIo::kOff, "AutoBuffered"},
                                         Mode{FileEngineChoice::kThreads, DirectIo::kAuto, "ThreadsDirect"}, Mode{FileEngineChoice::kThreads, DirectIo::kOff, "ThreadsBuffered"}),
                         [](const auto& info) { return info.param.name; });

TEST_P(ObjectFilesTest, StoredObjectsComeBackInAnotherInstance) {
  const std::vector<size_t> sizes = {1, 100, 4095, 4096, 4097, 65536, 1000001, 5 * 1024 * 1024 + 3};
  {
    Store store(folder_.path, Engine(), Files());
    std::vector<SlotRef> refs;
    std::vector<uint8_t> records;
    for (size_t i = 0; i < sizes.size(); ++i) {
      refs.push_back(store.Slot(Pattern(sizes[i], static_cast<uint8_t>(i))));
      const std::vector<uint8_t> record = Record(static_cast<uint8_t>(i));
      records.insert(records.end(), record.begin(), record.end());
    }
    ASSERT_TRUE(store.files->Store(900, store.harness.arena, refs.data(), refs.size(), records.data(), records.size()).ok());
    EXPECT_EQ(store.harness.Await(900), Statuses(sizes.size(), 0));
    for (size_t i = 0; i < sizes.size(); ++i) {
      struct stat status;
      ASSERT_EQ(stat((folder_.path + "/" + store.PathOf(Record(static_cast<uint8_t>(i)))).c_str(), &status), 0);
      EXPECT_EQ(static_cast<uint64_t>(status.st_size), ObjectFileBytes(sizes[i]));
      EXPECT_EQ(status.st_mode & 07777, 0600u);
    }
  }
  Store store(folder_.path, Engine(), Files());
  for (size_t i = 0; i < sizes.size(); ++i) {
    std::vector<uint8_t> got;
    EXPECT_EQ(store.Get(Record(static_cast<uint8_t>(i)), sizes[i], &got), 0);
    EXPECT_TRUE(got == Pattern(sizes[i], static_cast<uint8_t>(i)));
  }
  EXPECT_EQ(store.Get(Record(99), 100), item_status::kMissing);
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
}

TEST_P(ObjectFilesTest, TheFirstStoreOfAKeyWins) {
  Store store(folder_.path, Engine(), Files());
  EXPECT_EQ(store.Put(Record(1), Pattern(5000, 1)), 0);
  EXPECT_EQ(store.Put(Record(1), Pattern(5000, 2)), item_status::kAlreadyPresent);
  std::vector<uint8_t> got;
  EXPECT_EQ(store.Get(Record(1), 5000, &got), 0);
  EXPECT_EQ(got, Pattern(5000, 1));
}

TEST_P(ObjectFilesTest, TwoWritersOfOneKeyLeaveOneCompleteObject) {
  Store one(folder_.path, Engine(), Files());
  Store two(folder_.path, Engine(), Files());
  const std::vector<uint8_t> bytes_one = Pattern(300000, 1);
  const std::vector<uint8_t> bytes_two = Pattern(300000, 2);
  const SlotRef slot_one = one.Slot(bytes_one);
  const SlotRef slot_two = two.Slot(bytes_two);
  for (uint8_t round = 0; round < 40; ++round) {
    const std::vector<uint8_t> record = Record(round);
    ASSERT_TRUE(one.files->Store(1000, one.harness.arena, &slot_one, 1, record.data(), record.size()).ok());
    ASSERT_TRUE(two.files->Store(1000, two.harness.arena, &slot_two, 1, record.data(), record.size()).ok());
    const int32_t first = one.harness.Await(1000).at(0);
    const int32_t second = two.harness.Await(1000).at(0);
    EXPECT_EQ(std::min(first, second), 0);
    EXPECT_EQ(std::max(first, second), item_status::kAlreadyPresent);
    std::vector<uint8_t> got;
    ASSERT_EQ(one.Get(record, 300000, &got), 0);
    EXPECT_TRUE(got == (first == 0 ? bytes_one : bytes_two));
  }
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
}

// LMCache's O_DIRECT path publishes a short write, and then the key is never written again and never loads.
TEST_P(ObjectFilesTest, ATruncatedObjectIsRepairedByTheNextStore) {
  Store store(folder_.path, Engine(), Files());
  const std::vector<uint8_t> bytes = Pattern(20000, 3);
  ASSERT_EQ(store.Put(Record(1), bytes), 0);
  const std::string path = folder_.path + "/" + store.PathOf(Record(1));
  for (size_t length : {0u, 100u, 4096u, 20480u}) {
    fs::resize_file(path, length);
    EXPECT_EQ(store.Get(Record(1), bytes.size()), item_status::kCorrupt);
    EXPECT_EQ(store.Put(Record(1), bytes), 0) << "not already present";
    std::vector<uint8_t> got;
    EXPECT_EQ(store.Get(Record(1), bytes.size(), &got), 0);
    EXPECT_EQ(got, bytes);
  }
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
}

// A store that believes a damaged file of the right size is told "present", and the object can never be loaded.
TEST_P(ObjectFilesTest, ADamagedObjectOfTheRightSizeIsReplacedByTheNextStore) {
  Store store(folder_.path, Engine(), Files());
  const std::vector<uint8_t> bytes = Pattern(3000000, 3);
  ASSERT_EQ(store.Put(Record(1), bytes), 0);
  ASSERT_EQ(store.Put(Record(2), bytes), 0);
  const std::string path = folder_.path + "/" + store.PathOf(Record(1));
  const uint64_t size = fs::file_size(path);
  for (uint64_t offset : {uint64_t{0}, uint64_t{16}, uint64_t{4095}, uint64_t{4096}, size / 2, size - 1}) {
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>(offset));
      const char byte = static_cast<char>(file.get() ^ 4);
      file.seekp(static_cast<std::streamoff>(offset));
      file.put(byte);
    }
    EXPECT_EQ(store.Put(Record(1), bytes), 0) << "byte " << offset;
    EXPECT_EQ(store.Put(Record(1), bytes), item_status::kAlreadyPresent);
    std::vector<uint8_t> got;
    EXPECT_EQ(store.Get(Record(1), bytes.size(), &got), 0);
    EXPECT_TRUE(got == bytes);
  }
  fs::copy_file(folder_.path + "/" + store.PathOf(Record(2)), path, fs::copy_options::overwrite_existing);
  EXPECT_EQ(store.Put(Record(1), bytes), 0) << "another key's object";
  EXPECT_EQ(store.Get(Record(1), bytes.size()), 0);
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
}

TEST_P(ObjectFilesTest, AnObjectUnderAnotherKeysNameIsForeign) {
  Store store(folder_.path, Engine(), Files());
  ASSERT_EQ(store.Put(Record(1), Pattern(20000, 1)), 0);
  ASSERT_EQ(store.Put(Record(2), Pattern(20000, 2)), 0);
  ASSERT_EQ(store.Put(Record(3), Pattern(50000, 3)), 0);
  const std::string base = folder_.path + "/";
  fs::rename(base + store.PathOf(Record(1)), base + "aside");
  fs::rename(base + store.PathOf(Record(2)), base + store.PathOf(Record(1)));
  fs::rename(base + "aside", base + store.PathOf(Record(2)));
  EXPECT_EQ(store.Get(Record(1), 20000), item_status::kForeignKey);
  EXPECT_EQ(store.Get(Record(2), 20000), item_status::kForeignKey);
  fs::rename(base + store.PathOf(Record(3)), base + store.PathOf(Record(2)));
  EXPECT_EQ(store.Get(Record(2), 20000), item_status::kForeignKey) << "of another size";
}

TEST_P(ObjectFilesTest, AnotherLayoutIsToldFromDamage) {
  Store store(folder_.path, Engine(), Files());
  ASSERT_EQ(store.Put(Record(1), Pattern(5000, 1)), 0);
  EXPECT_EQ(store.Get(Record(1), 5001), item_status::kOtherLayout) << "same pages, other length";
  std::vector<uint8_t> got;
  EXPECT_EQ(store.Get(Record(1), 50000, &got), item_status::kOtherLayout);
  EXPECT_EQ(got, std::vector<uint8_t>(50000, 0xab)) << "a wrong length is known before a byte reaches the slot";

  const std::string path = folder_.path + "/" + store.PathOf(Record(1));
  std::vector<uint8_t> file = ReadFile(path);
  const uint32_t version = 9;
  memcpy(file.data() + 8, &version, 4);
  const uint32_t crc = Crc32c(file.data(), 4092);
  memcpy(file.data() + 4092, &crc, 4);
  WriteFile(path, file);
  EXPECT_EQ(store.Get(Record(1), 5000), item_status::kOtherLayout);
  EXPECT_EQ(InspectObjectFile(path).problem, "format version 9; this program reads version 1");
}

TEST_P(ObjectFilesTest, WhatIsNoRegularFileIsCorruptAndStopsNobody) {
  Store store(folder_.path, Engine(), Files());
  const std::string path = folder_.path + "/" + store.PathOf(Record(1));
  fs::create_directories(fs::path(path).parent_path());
  ASSERT_EQ(symlink("/dev/zero", path.c_str()), 0);
  EXPECT_EQ(store.Get(Record(1), 100), item_status::kCorrupt);
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(store.Get(Record(1), 100), item_status::kCorrupt);
  EXPECT_EQ(store.Put(Record(1), Pattern(100, 1)), 0) << "replaced";
  EXPECT_EQ(store.Get(Record(1), 100), 0);
  unlink(path.c_str());
  fs::create_directory(path);
  EXPECT_EQ(store.Get(Record(1), 100), item_status::kCorrupt);
}

TEST_P(ObjectFilesTest, RemoveAnswersPerFile) {
  Store store(folder_.path, Engine(), Files());
  ASSERT_EQ(store.Put(Record(1), Pattern(100, 1)), 0);
  ASSERT_EQ(store.Put(Record(2), Pattern(100, 2)), 0);
  const ScanRows rows = store.Scan();
  ASSERT_EQ(rows.identities.size(), 2u);
  std::vector<uint8_t> identities(rows.identities[0].begin(), rows.identities[0].end());
  identities.insert(identities.end(), kIdentityBytes, 0x55);
  identities.insert(identities.end(), rows.identities[1].begin(), rows.identities[1].end());
  ASSERT_TRUE(store.files->Remove(900, identities.data(), identities.size()).ok());
  EXPECT_EQ(store.harness.Await(900), (Statuses{0, item_status::kMissing, 0}));
  EXPECT_EQ(FilesBelow(folder_.path), 0u);
}

// The kernel refuses the rest of a file that may not grow past 24 pages: a full disk as a test can have it.
TEST_P(ObjectFilesTest, AWriteThatFailsLeavesNothingAndIsAnErrorOfItsKeyAlone) {
  signal(SIGXFSZ, SIG_IGN);
  Store store(folder_.path, Engine(), Files());
  const std::vector<SlotRef> refs = {store.Slot(Pattern(50000, 1)), store.Slot(Pattern(200000, 2)), store.Slot(Pattern(60000, 3))};
  std::vector<uint8_t> records;
  for (uint8_t key : {1, 2, 3}) {
    const std::vector<uint8_t> record = Record(key);
    records.insert(records.end(), record.begin(), record.end());
  }
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{24 * 4096, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  ASSERT_TRUE(store.files->Store(900, store.harness.arena, refs.data(), 3, records.data(), records.size()).ok());
  EXPECT_EQ(store.harness.Await(900), (Statuses{0, -EFBIG, 0}));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
  EXPECT_EQ(FilesBelow(folder_.path), 2u);
  EXPECT_EQ(store.Get(Record(2), 200000), item_status::kMissing);
  EXPECT_EQ(store.PutSlot(Record(2), refs[1]), 0) << "and may be tried again";
}

TEST_P(ObjectFilesTest, ADirectoryThatVanishesIsAnErrorForStoresAndAMissForLoads) {
  Store store(folder_.path, Engine(), Files());
  ASSERT_EQ(store.Put(Record(1), Pattern(100, 1)), 0);
  fs::remove_all(folder_.path + "/tmp");
  EXPECT_EQ(store.Put(Record(2), Pattern(100, 2)), 0) << "tmp/ is made again";
  fs::remove_all(folder_.path);
  EXPECT_EQ(store.Put(Record(3), Pattern(100, 3)), -ENOENT);
  EXPECT_EQ(store.Get(Record(1), 100), item_status::kMissing);
  EXPECT_FALSE(fs::exists(folder_.path)) << "nothing is written beside the place that was asked for";
}

TEST_P(ObjectFilesTest, ShutdownEndsEveryItemAndLeavesNoTemporaryFile) {
  Store store(folder_.path, Engine(), Files());
  const SlotRef slot = store.Slot(Pattern(400000, 1));
  const std::vector<SlotRef> refs(200, slot);
  std::vector<uint8_t> records;
  for (uint32_t i = 0; i < 200; ++i) {
    const std::vector<uint8_t> record = Record(1, i);
    records.insert(records.end(), record.begin(), record.end());
  }
  ASSERT_TRUE(store.files->Store(900, store.harness.arena, refs.data(), refs.size(), records.data(), records.size()).ok());
  store.harness.engine->Shutdown();
  const Statuses statuses = store.harness.Await(900);
  size_t stored = 0;
  for (int32_t status : statuses) {
    EXPECT_TRUE(status == 0 || status == item_status::kCancelled) << status;
    stored += status == 0;
  }
  EXPECT_EQ(statuses.size(), 200u);
  EXPECT_EQ(store.harness.arena->Stats().slots_in_io, 0u);
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
  EXPECT_EQ(FilesBelow(folder_.path + "/objects"), stored);
}

TEST_P(ObjectFilesTest, RandomDamageIsAlwaysSeen) {
  TestRandom random;
  Store store(folder_.path, Engine(), Files());
  const std::vector<uint8_t> bytes = Pattern(30001, 7);
  ASSERT_EQ(store.Put(Record(1), bytes), 0);
  const std::string path = folder_.path + "/" + store.PathOf(Record(1));
  const std::vector<uint8_t> file = ReadFile(path);
  for (int round = 0; round < 300; ++round) {
    std::vector<uint8_t> damaged = file;
    const uint32_t changes = 1 + random.Below(3);
    for (uint32_t i = 0; i < changes; ++i) damaged[random.Below(static_cast<uint32_t>(file.size()))] ^= static_cast<uint8_t>(1u << random.Below(8));
    if (damaged == file) continue;
    WriteFile(path, damaged);
    EXPECT_EQ(store.Get(Record(1), bytes.size()), item_status::kCorrupt) << "round " << round;
    EXPECT_NE(InspectObjectFile(path).problem, "");
  }
  WriteFile(path, file);
  EXPECT_EQ(store.Get(Record(1), bytes.size()), 0);
}

/// Tests of one engine, for what does not depend on it.
class ObjectFilesOneTest : public testing::Test {
 protected:
  static EngineOptions Threads() {
    EngineOptions options;
    options.file_engine = FileEngineChoice::kThreads;
    options.file_threads = 2;
    return options;
  }
  static ObjectFilesOptions Buffered() {
    ObjectFilesOptions options;
    options.direct_io = DirectIo::kOff;
    return options;
  }
  Folder folder_;
};

TEST_F(ObjectFilesOneTest, EveryOtherLengthOfASmallFileIsCorruptAndTouchesNothing) {
  Store store(folder_.path, Threads(), Buffered());
  const std::vector<uint8_t> bytes = Pattern(100, 7);
  ASSERT_EQ(store.Put(Record(1), bytes), 0);
  const std::string path = folder_.path + "/" + store.PathOf(Record(1));
  const std::vector<uint8_t> untouched(bytes.size(), 0xab);
  std::vector<uint8_t> got;
  for (size_t length = 8191; length + 1 > 0; --length) {
    ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(length)), 0);
    ASSERT_EQ(store.Get(Record(1), bytes.size(), &got), item_status::kCorrupt) << length;
    ASSERT_EQ(got, untouched) << length;
  }
  ASSERT_EQ(store.Put(Record(1), bytes), 0);
  for (size_t length : {8193u, 12288u, 1000000u}) {
    ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(length)), 0);
    ASSERT_EQ(store.Get(Record(1), bytes.size(), &got), item_status::kCorrupt) << length;
    ASSERT_EQ(got, untouched) << length;
  }
}

TEST_F(ObjectFilesOneTest, EveryByteOfAFileIsCovered) {
  TestRandom random;
  Store store(folder_.path, Threads(), Buffered());
  const std::vector<uint8_t> bytes = Pattern(100, 7);
  ASSERT_EQ(store.Put(Record(1), bytes), 0);
  const int file = open((folder_.path + "/" + store.PathOf(Record(1))).c_str(), O_RDWR);
  for (off_t at = 0; at < 8192; ++at) {
    uint8_t byte;
    ASSERT_EQ(pread(file, &byte, 1, at), 1);
    const uint8_t flipped = byte ^ static_cast<uint8_t>(1u << random.Below(8));
    ASSERT_EQ(pwrite(file, &flipped, 1, at), 1);
    ASSERT_EQ(store.Get(Record(1), bytes.size()), item_status::kCorrupt) << at;
    ASSERT_EQ(pwrite(file, &byte, 1, at), 1);
  }
  close(file);
  EXPECT_EQ(store.Get(Record(1), bytes.size()), 0);
}

// The checksum of whoever filled the slot goes into the file, so a bit that flips in memory later is found at the load.
TEST_F(ObjectFilesOneTest, ABitThatFlipsInMemoryIsFoundAtTheLoad) {
  Store store(folder_.path, Threads(), Buffered());
  const SlotRef slot = store.Slot(Pattern(10000, 1));
  uint32_t crc = 0;
  ASSERT_TRUE(store.harness.arena->Checksums(&slot, 1, &crc).ok());
  std::vector<SlotView> views;
  ASSERT_TRUE(store.harness.arena->View(&slot, 1, &views).ok());
  views[0].data[5000] ^= 16;
  EXPECT_EQ(store.PutSlot(Record(1), slot), 0);
  EXPECT_EQ(store.Get(Record(1), 10000), item_status::kCorrupt);
}

TEST_F(ObjectFilesOneTest, WhatLiesBehindAnObjectInItsSlotNeverReachesTheFile) {
  Store store(folder_.path, Threads(), Buffered());
  const SlotRef slot = store.Slot(Pattern(100, 1));
  std::vector<SlotView> views;
  ASSERT_TRUE(store.harness.arena->View(&slot, 1, &views).ok());
  memset(views[0].data + 100, 0x77, 3996);
  EXPECT_EQ(store.PutSlot(Record(1), slot), 0);
  const std::vector<uint8_t> file = ReadFile(folder_.path + "/" + store.PathOf(Record(1)));
  EXPECT_EQ(std::vector<uint8_t>(file.begin() + 4196, file.end()), std::vector<uint8_t>(3996, 0));
  EXPECT_EQ(store.Get(Record(1), 100), 0);
}

TEST_F(ObjectFilesOneTest, MisuseIsRefusedBeforeAnythingStarts) {
  Store store(folder_.path, Threads(), Buffered());
  const SlotRef slot = store.Slot(Pattern(100, 1));
  auto refusal = [&](const Status& status) {
    EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
    EXPECT_EQ(store.harness.engine->Stats().pending_operations, 0u);
    EXPECT_EQ(store.harness.arena->Stats().slots_in_io, 0u);
    return status.message();
  };
  const std::vector<uint8_t> unknown = Record(1, 0, 0, 7);
  EXPECT_EQ(refusal(store.files->Store(1, store.harness.arena, &slot, 1, unknown.data(), unknown.size())), "record 0 names namespace 7, which is not registered");
  const std::vector<uint8_t> record = Record(1);
  EXPECT_EQ(refusal(store.files->Load(1, store.harness.arena, &slot, 1, record.data(), 47)), "records has 47 bytes; a whole number of 48-byte records is allowed");
  EXPECT_EQ(refusal(store.files->Store(1, store.harness.arena, &slot, 1, nullptr, 0)), "records holds 0 keys; refs has 1 slots");
  EXPECT_NE(refusal(store.files->Scan(1, 200, 57)).find("256 shards"), std::string::npos);
  EXPECT_NE(refusal(store.files->Scan(1, UINT32_MAX, 2)).find("256 shards"), std::string::npos);
  EXPECT_NE(refusal(store.files->Remove(1, record.data(), 19)).find("20-byte identities"), std::string::npos);
  ScanRows rows;
  EXPECT_NE(refusal(store.files->TakeScan(1, &rows)).find("not a finished scan"), std::string::npos);
  EXPECT_NE(refusal(store.files->RegisterNamespace(1, SomeDigest(2), std::string(kMaxDescriptionBytes + 1, 'x'))).find("at most 3964"), std::string::npos);
  EXPECT_TRUE(store.files->RegisterNamespace(0, SomeDigest(1), "again").ok());
  EXPECT_EQ(store.files->RegisterNamespace(0, SomeDigest(2), "").code(), StatusCode::kInvalidArgument);
  store.files->Close();
  EXPECT_EQ(store.files->Store(1, store.harness.arena, &slot, 1, record.data(), record.size()).code(), StatusCode::kClosed);
}

TEST_F(ObjectFilesOneTest, OpeningSaysWhatIsWrongWithTheDirectory) {
  std::shared_ptr<ObjectDirectory> directory;
  const Status missing = ObjectDirectory::Open(folder_.path + "/none", DirectIo::kAuto, false, nullptr, &directory);
  EXPECT_EQ(missing.code(), StatusCode::kSystem);
  EXPECT_NE(missing.message().find("basePath: opening the directory " + folder_.path + "/none"), std::string::npos) << missing.message();
  WriteFile(folder_.path + "/file", {1});
  EXPECT_FALSE(ObjectDirectory::Open(folder_.path + "/file", DirectIo::kAuto, false, nullptr, &directory).ok());
  SystemCalls calls = *KernelCalls();
  calls.open_at = [](int, const char*, int, mode_t) { return -EROFS; };
  const Status read_only = ObjectDirectory::Open(folder_.path, DirectIo::kAuto, false, &calls, &directory);
  EXPECT_EQ(read_only.code(), StatusCode::kSystem);
  EXPECT_NE(read_only.message().find("basePath: opening a file in tmp/"), std::string::npos) << read_only.message();
}

TEST_F(ObjectFilesOneTest, WhereDirectIoIsRefusedFilesAreBufferedAndTheReasonIsTold) {
  SystemCalls calls = *KernelCalls();
  calls.open_at = [](int directory, const char* path, int flags, mode_t mode) { return (flags & O_DIRECT) != 0 ? -EINVAL : KernelCalls()->open_at(directory, path, flags, mode); };
  {
    Store store(folder_.path, Threads(), {}, &calls);
    EXPECT_FALSE(store.files->directory().direct_io());
    EXPECT_EQ(store.files->directory().direct_io_reason(), "Invalid argument from opening a file in tmp/ with O_DIRECT");
    EXPECT_EQ(store.Put(Record(1), Pattern(5000, 1)), 0);
    EXPECT_EQ(store.Get(Record(1), 5000), 0);
  }
  calls = *KernelCalls();
  calls.pwritev = [](int, const iovec*, int, off_t) { return ssize_t{-EINVAL}; };
  std::shared_ptr<ObjectDirectory> directory;
  ASSERT_TRUE(ObjectDirectory::Open(folder_.path, DirectIo::kAuto, false, &calls, &directory).ok());
  EXPECT_FALSE(directory->direct_io()) << "accepted at open, refused at the first write";
  const Status insisting = ObjectDirectory::Open(folder_.path, DirectIo::kOn, false, &calls, &directory);
  EXPECT_EQ(insisting.code(), StatusCode::kOutOfRange);
  EXPECT_NE(insisting.message().find("directIo is \"on\", which this file system refuses"), std::string::npos);
  calls.pwritev = [](int, const iovec*, int, off_t) { return ssize_t{-ENOSPC}; };
  ASSERT_TRUE(ObjectDirectory::Open(folder_.path, DirectIo::kAuto, false, &calls, &directory).ok()) << "a full disk still serves loads";
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
}

TEST_F(ObjectFilesOneTest, WithoutARenameThatRefusesToReplaceALinkPublishes) {
  SystemCalls calls = *KernelCalls();
  calls.rename_at = [](int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
    return flags != 0 ? -EINVAL : KernelCalls()->rename_at(from_directory, from, to_directory, to, flags);
  };
  {
    Store store(folder_.path, Threads(), Buffered(), &calls);
    EXPECT_EQ(store.Put(Record(1), Pattern(5000, 1)), 0);
    EXPECT_EQ(store.Put(Record(1), Pattern(5000, 2)), item_status::kAlreadyPresent);
    std::vector<uint8_t> got;
    EXPECT_EQ(store.Get(Record(1), 5000, &got), 0);
    EXPECT_EQ(got, Pattern(5000, 1));
    struct stat status;
    ASSERT_EQ(stat((folder_.path + "/" + store.PathOf(Record(1))).c_str(), &status), 0);
    EXPECT_EQ(status.st_nlink, 1u) << "the temporary name is gone";
  }
  calls.link_at = [](int, const char*, int, const char*) { return -EPERM; };
  Store store(folder_.path, Threads(), Buffered(), &calls);
  EXPECT_EQ(store.Put(Record(2), Pattern(5000, 3)), 0) << "and where links are refused too, a plain rename";
  EXPECT_EQ(store.Put(Record(2), Pattern(5000, 4)), item_status::kAlreadyPresent);
  std::vector<uint8_t> got;
  EXPECT_EQ(store.Get(Record(2), 5000, &got), 0);
  EXPECT_EQ(got, Pattern(5000, 3));
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
}

std::atomic<int> syncs{0};
std::atomic<int> sync_error{0};

TEST_F(ObjectFilesOneTest, FsyncComesBeforeStored) {
  SystemCalls calls = *KernelCalls();
  calls.sync_file = [](int file) {
    ++syncs;
    return sync_error != 0 ? sync_error.load() : KernelCalls()->sync_file(file);
  };
  ObjectFilesOptions options = Buffered();
  options.fsync = true;
  Store store(folder_.path, Threads(), options, &calls);
  syncs = 0;
  EXPECT_EQ(store.Put(Record(1), Pattern(100, 1)), 0);
  EXPECT_EQ(syncs, 5) << "the file, the three directories that got a new entry, and its own";
  sync_error = -EIO;
  EXPECT_EQ(store.Put(Record(2), Pattern(100, 2)), -EIO);
  sync_error = 0;
  EXPECT_EQ(store.Get(Record(2), 100), item_status::kMissing);
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
}

TEST_F(ObjectFilesOneTest, ScanListsObjectsCountsStrangersAndDeletesWhatDeadWritersLeft) {
  Store store(folder_.path, Threads(), Buffered());
  std::set<std::string> wanted;
  for (uint8_t key = 0; key < 50; ++key) {
    ASSERT_EQ(store.Put(Record(key), Pattern(100 + key * 100u, key)), 0);
    wanted.insert(store.PathOf(Record(key)));
  }
  const std::string base = folder_.path + "/";
  const std::string some = *wanted.begin();
  WriteFile(base + some + ".bak", {1});
  WriteFile(base + some.substr(0, some.rfind('/')) + "/README", {1});
  // An object's name in another object's shard.
  FileIdentity identity{};
  WriteFile(base + some.substr(0, some.rfind('/') + 1) + ObjectName(identity.data()), {1});
  WriteFile(base + "tmp/1-0123456789abcdef-1", {1});
  WriteFile(base + "tmp/" + std::to_string(getpid()) + "-fedcba9876543210-12", {1});
  WriteFile(base + "tmp/note", {1});
  std::string live;
  FileHandle writing;
  ASSERT_EQ(store.files->directory().OpenTemporary(&live, &writing), 0);

  ScanRows rows = store.Scan();
  std::set<std::string> got;
  for (size_t i = 0; i < rows.identities.size(); ++i) {
    const std::string path = ObjectPath(rows.identities[i].data());
    got.insert(path);
    struct stat status;
    ASSERT_EQ(stat((base + path).c_str(), &status), 0);
    EXPECT_EQ(rows.file_bytes[i], static_cast<double>(status.st_size));
    EXPECT_NEAR(rows.modified_ms[i], static_cast<double>(status.st_mtim.tv_sec) * 1e3 + static_cast<double>(status.st_mtim.tv_nsec) / 1e6, 1);
  }
  EXPECT_EQ(got, wanted);
  EXPECT_EQ(rows.foreign_files, 4u);
  EXPECT_EQ(rows.temporary_deleted, 2u);
  EXPECT_TRUE(fs::exists(base + "tmp/" + live)) << "a file that is being written stays";
  EXPECT_TRUE(fs::exists(base + "tmp/note"));

  size_t in_parts = 0;
  for (uint32_t first = 0; first < 256; first += 64) in_parts += store.Scan(first, 64).identities.size();
  EXPECT_EQ(in_parts, wanted.size());
}

// kill -9 in the middle: every published file is complete, everything else is in tmp/ and goes at the next scan.
TEST_F(ObjectFilesOneTest, AKilledWriterLeavesOnlyTemporaryFiles) {
  size_t seen_temporaries = 0;
  size_t seen_objects = 0;
  for (int round = 0; round < 8; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Store store(folder_.path);
      const SlotRef slot = store.Slot(Pattern(3000000, 1));
      const std::vector<SlotRef> refs(16, slot);
      for (uint32_t op = 1;; ++op) {
        std::vector<uint8_t> records;
        for (uint32_t i = 0; i < 16; ++i) {
          const std::vector<uint8_t> record = Record(static_cast<uint8_t>(round), op, i);
          records.insert(records.end(), record.begin(), record.end());
        }
        if (!store.files->Store(op, store.harness.arena, refs.data(), refs.size(), records.data(), records.size()).ok()) _exit(1);
        store.harness.Await(op);
      }
    }
    // At its second object at the latest the child is in the middle of the others.
    for (int waited = 0; waited < 6000 && (!fs::exists(folder_.path + "/objects") || FilesBelow(folder_.path + "/objects") < 2); ++waited) usleep(5000);
    usleep(static_cast<useconds_t>(round) * 3000);
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    seen_temporaries = FilesBelow(folder_.path + "/tmp");
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path + "/objects")) {
      if (entry.is_directory()) continue;
      ++seen_objects;
      EXPECT_EQ(InspectObjectFile(entry.path()).problem, "");
    }
    fs::remove_all(folder_.path + "/objects");
  }
  EXPECT_GT(seen_temporaries, 0u) << "no round was killed in the middle of a file";
  EXPECT_GT(seen_objects, 0u);
  Store store(folder_.path, Threads(), Buffered());
  EXPECT_EQ(store.Scan().temporary_deleted, seen_temporaries);
  EXPECT_EQ(FilesBelow(folder_.path + "/tmp"), 0u);
}

TEST_F(ObjectFilesOneTest, InspectSaysWhatAFileIs) {
  Store store(folder_.path, Threads(), Buffered());
  const std::vector<uint8_t> bytes = Pattern(5000, 9);
  ASSERT_EQ(store.Put(Record(3, 4, 5), bytes), 0);
  const std::string path = folder_.path + "/" + store.PathOf(Record(3, 4, 5));
  const ObjectFileReport report = InspectObjectFile(path);
  EXPECT_EQ(report.problem, "");
  EXPECT_EQ(report.header.payload_bytes, 5000u);
  EXPECT_EQ(report.header.key.kv_rank, 4u);
  EXPECT_EQ(report.header.key.group_id, 5u);
  EXPECT_EQ(report.header.key.chunk_hash[0], 3);
  EXPECT_TRUE(report.header.key.namespace_digest == SomeDigest(1));
  EXPECT_EQ(report.header.description, "{\"modelName\":\"test\"}");

  EXPECT_EQ(InspectObjectFile(folder_.path + "/none").problem, "No such file or directory from opening it");
  EXPECT_EQ(InspectObjectFile(folder_.path).problem, "it is not a regular file");
  const std::vector<uint8_t> file = ReadFile(path);
  auto problem_with = [&](auto change) {
    std::vector<uint8_t> changed = file;
    change(changed);
    WriteFile(folder_.path + "/changed", changed);
    return InspectObjectFile(folder_.path + "/changed").problem;
  };
  EXPECT_EQ(problem_with([](auto&) {}), "") << "a copy under any other name is intact";
  EXPECT_EQ(problem_with([](auto& f) { f.resize(100); }), "it has 100 bytes; a header alone has 4096");
  EXPECT_EQ(problem_with([](auto& f) { f.resize(f.size() - 1); }), "it has 12287 bytes; its header promises 12288");
  EXPECT_EQ(problem_with([](auto& f) { f[0] ^= 1; }), "it does not begin with the magic of an object file");
  EXPECT_EQ(problem_with([](auto& f) { f[200] ^= 1; }), "the header does not match its checksum");
  EXPECT_EQ(problem_with([](auto& f) { f[5000] ^= 1; }), "the payload does not match its checksum");
  const std::string other = folder_.path + "/" + store.PathOf(Record(4));
  fs::create_directories(fs::path(other).parent_path());
  fs::rename(path, other);
  EXPECT_NE(InspectObjectFile(other).problem.find("it holds another key's object"), std::string::npos);
}

TEST_F(ObjectFilesOneTest, SteppedOperationsRunOneByOne) {
  EngineOptions options;
  options.stepped = true;
  Store store(folder_.path, options, Buffered());
  const std::vector<SlotRef> slots = {store.Slot(Pattern(100, 1)), store.Slot(Pattern(100, 2))};
  const std::vector<uint8_t> one = Record(1);
  const std::vector<uint8_t> two = Record(2);
  ASSERT_TRUE(store.files->Store(901, store.harness.arena, &slots[0], 1, one.data(), one.size()).ok());
  ASSERT_TRUE(store.files->Store(902, store.harness.arena, &slots[1], 1, two.data(), two.size()).ok());
  EXPECT_EQ(FilesBelow(folder_.path), 0u);
  EXPECT_EQ(store.harness.engine->Step(1), 1u);
  EXPECT_TRUE(store.harness.HasEnded(901));
  EXPECT_FALSE(store.harness.HasEnded(902));
  EXPECT_EQ(FilesBelow(folder_.path), 1u);
  store.harness.engine->Shutdown();
  EXPECT_EQ(store.harness.Await(902), Statuses{item_status::kCancelled});
  EXPECT_EQ(store.harness.arena->Stats().slots_in_io, 0u);
  EXPECT_EQ(FilesBelow(folder_.path), 1u);
}

}  // namespace
}  // namespace kvferry
