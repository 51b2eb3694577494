// The file engine: io_uring and the thread pool do the same work, refusals are told in words, bytes in flight stay within the
// budget, and short transfers go on where they stopped.
#include "file_engine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "engine_harness.h"
#include "test_random.h"

namespace kvferry {
namespace {

EngineOptions With(FileEngineChoice choice, uint32_t threads = 4, uint64_t budget = uint64_t{64} << 20) {
  EngineOptions options;
  options.file_engine = choice;
  options.file_threads = threads;
  options.file_bytes_in_flight = budget;
  return options;
}

// A table of calls that misbehaves as the test says. Function pointers carry no state, so it is kept here.
struct Faults {
  int setup = 0;
  int probe = 0;
  size_t most_bytes = SIZE_MAX;
  std::atomic<int> interruptions{0};
};
Faults faults;

ssize_t Cut(ssize_t (*call)(int, const iovec*, int, off_t), int file, const iovec* vectors, off_t offset) {
  if (faults.interruptions.fetch_sub(1) > 0) return -EINTR;
  const iovec part{vectors[0].iov_base, std::min(vectors[0].iov_len, faults.most_bytes)};
  return call(file, &part, 1, offset);
}

SystemCalls FaultyCalls() {
  SystemCalls calls = *KernelCalls();
  calls.io_uring_setup = [](unsigned entries, io_uring_params* params) {
    // A refused probe needs no ring, so that these cases run where the host itself refuses set-up.
    if (faults.probe != 0) return open("/dev/null", O_RDWR | O_CLOEXEC);
    return faults.setup != 0 ? faults.setup : KernelCalls()->io_uring_setup(entries, params);
  };
  calls.io_uring_register = [](int ring, unsigned opcode, void* argument, unsigned count) {
    return faults.probe != 0 ? faults.probe : KernelCalls()->io_uring_register(ring, opcode, argument, count);
  };
  calls.preadv = [](int file, const iovec* vectors, int, off_t offset) { return Cut(KernelCalls()->preadv, file, vectors, offset); };
  calls.pwritev = [](int file, const iovec* vectors, int, off_t offset) { return Cut(KernelCalls()->pwritev, file, vectors, offset); };
  return calls;
}

/// Notes of what tasks did, in order.
struct Journal {
  std::mutex mutex;
  std::vector<std::string> lines;
  uint64_t most_in_flight = 0;
  void Add(std::string line) {
    std::lock_guard<std::mutex> lock(mutex);
    lines.push_back(std::move(line));
  }
};

/// Moves two buffers to or from one file of a folder.
class TestTask final : public FileTask {
 public:
  TestTask(std::string path, bool load, std::vector<uint8_t>* first, std::vector<uint8_t>* second, std::shared_ptr<Operation> operation, uint32_t item)
      : path_(std::move(path)), load_(load), first_(first), second_(second), operation_(std::move(operation)), item_(item) {}

  uint64_t BudgetBytes() const override { return first_->size() + second_->size(); }
  bool IsLoad() const override { return load_; }
  bool Prepare(FileTransfer* transfer) override {
    if (files != nullptr && journal != nullptr) {
      const uint64_t bytes = files->BytesInFlight();
      std::lock_guard<std::mutex> lock(journal->mutex);
      journal->most_in_flight = std::max(journal->most_in_flight, bytes);
      journal->lines.push_back(path_);
    }
    if (gate != nullptr) {
      while (gate->load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    file_ = open(path_.c_str(), load_ ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file_ < 0) {
      status_ = -errno;
      return false;
    }
    transfer->file = file_;
    transfer->write = !load_;
    transfer->pieces[0] = {first_->data(), first_->size()};
    transfer->pieces[1] = {second_->data(), second_->size()};
    return true;
  }
  void Finish(int32_t result) override {
    close(file_);
    status_ = result;
  }
  void Complete() override { operation_->FinishItem(item_, status_); }
  void CancelTask() override { status_ = item_status::kCancelled; }

  FileEngine* files = nullptr;
  Journal* journal = nullptr;
  std::atomic<bool>* gate = nullptr;

 private:
  const std::string path_;
  const bool load_;
  std::vector<uint8_t>* const first_;
  std::vector<uint8_t>* const second_;
  const std::shared_ptr<Operation> operation_;
  const uint32_t item_;
  int file_ = -1;
  int32_t status_ = 0;
};

class Folder {
 public:
  Folder() {
    std::string name = testing::TempDir() + "kvferry-files-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

std::vector<uint8_t> RandomBytes(TestRandom& random, size_t count) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.Next());
  return bytes;
}

/// What tests of both engines and tests of one share.
class FileEngineOneTest : public testing::Test {
 protected:
  ~FileEngineOneTest() override {
    faults.setup = 0;
    faults.probe = 0;
    faults.most_bytes = SIZE_MAX;
    faults.interruptions = 0;
  }
  FileEngine* Files(EngineHarness& harness, const SystemCalls* calls = nullptr) {
    FileEngine* files = nullptr;
    const Status status = FileEngine::For(harness.engine.get(), &files, calls);
    EXPECT_TRUE(status.ok()) << status.message();
    return files;
  }
  /// Writes `count` random files and reads them back.
  void WriteAndRead(EngineHarness& harness, FileEngine* files, uint32_t count, size_t most_bytes) {
    TestRandom random;
    std::vector<std::vector<uint8_t>> heads, bodies, read_heads, read_bodies;
    for (uint32_t i = 0; i < count; ++i) {
      heads.push_back(RandomBytes(random, 1 + random.Below(5000)));
      bodies.push_back(RandomBytes(random, 1 + random.Below(static_cast<uint32_t>(most_bytes))));
      read_heads.emplace_back(heads[i].size());
      read_bodies.emplace_back(bodies[i].size());
    }
    for (bool load : {false, true}) {
      const uint32_t op = harness.NextOp();
      auto operation = harness.engine->Begin(op, count);
      std::vector<std::shared_ptr<FileTask>> tasks;
      for (uint32_t i = 0; i < count; ++i)
        tasks.push_back(std::make_shared<TestTask>(folder_.path + "/" + std::to_string(i), load, load ? &read_heads[i] : &heads[i], load ? &read_bodies[i] : &bodies[i], operation, i));
      files->Submit(std::move(tasks));
      EXPECT_EQ(harness.Await(op), std::vector<int32_t>(count, 0));
    }
    EXPECT_TRUE(read_heads == heads);
    EXPECT_TRUE(read_bodies == bodies);
    EXPECT_EQ(files->BytesInFlight(), 0u);
  }
  Folder folder_;
};

class FileEngineTest : public FileEngineOneTest, public testing::WithParamInterface<FileEngineChoice> {};

INSTANTIATE_TEST_SUITE_P(Engines, FileEngineTest, testing::Values(FileEngineChoice::kAuto, FileEngineChoice::kThreads),
                         [](const auto& info) { return info.param == FileEngineChoice::kAuto ? "Auto" : "Threads"; });

TEST_P(FileEngineTest, WritesAndReadsManyFiles) {
  EngineHarness harness(With(GetParam()), 1 << 20);
  WriteAndRead(harness, Files(harness), 100, 200 * 1000);
}

TEST_P(FileEngineTest, ObjectsLargerThanAPieceAreCutAndPutTogether) {
  EngineHarness harness(With(GetParam()), 1 << 20);
  WriteAndRead(harness, Files(harness), 4, 20 * 1000 * 1000);
}

TEST_P(FileEngineTest, BytesInFlightStayWithinTheBudgetAndALargerTaskGoesAlone) {
  EngineHarness harness(With(GetParam(), 4, 300 * 1000), 1 << 20);
  FileEngine* files = Files(harness);
  Journal journal;
  std::vector<uint8_t> head(100);
  std::vector<uint8_t> body(100 * 1000 - 100);
  std::vector<uint8_t> large(700 * 1000 - 100);
  const uint32_t op = harness.NextOp();
  auto operation = harness.engine->Begin(op, 24);
  std::vector<std::shared_ptr<FileTask>> tasks;
  for (uint32_t i = 0; i < 24; ++i) {
    auto task = std::make_shared<TestTask>(folder_.path + "/" + std::to_string(i), false, &head, i % 8 == 3 ? &large : &body, operation, i);
    task->files = files;
    task->journal = &journal;
    tasks.push_back(std::move(task));
  }
  files->Submit(std::move(tasks));
  EXPECT_EQ(harness.Await(op), std::vector<int32_t>(24, 0));
  EXPECT_EQ(journal.most_in_flight, 700u * 1000) << "the large ones ran, and nothing beside them";
}

// 16 KiB objects under a budget of 256 MiB would otherwise be 16,384 open files at once, and EMFILE for whoever comes next.
TEST_P(FileEngineTest, SmallObjectsUnderALargeBudgetDoNotUseUpTheFileDescriptors) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit small{300, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &small), 0);
  {
    EngineHarness harness(With(GetParam()), 1 << 20);
    WriteAndRead(harness, Files(harness), 3000, 3000);
  }
  setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_P(FileEngineTest, LoadsAndStoresTakeTurns) {
  EngineHarness harness(With(GetParam(), 1, 1), 1 << 20);
  FileEngine* files = Files(harness);
  Journal journal;
  std::atomic<bool> gate{true};
  std::vector<uint8_t> head(10);
  std::vector<uint8_t> body(10);
  auto name = [&](const char* what, int i) { return folder_.path + "/" + what + std::to_string(i); };
  for (int i = 0; i < 3; ++i) close(open(name("load", i).c_str(), O_CREAT | O_WRONLY, 0600));
  const uint32_t op = harness.NextOp();
  auto operation = harness.engine->Begin(op, 6);
  std::vector<std::shared_ptr<FileTask>> tasks;
  for (int i = 0; i < 6; ++i) {
    auto task = std::make_shared<TestTask>(name(i < 3 ? "store" : "load", i % 3), i >= 3, &head, &body, operation, static_cast<uint32_t>(i));
    task->files = files;
    task->journal = &journal;
    task->gate = &gate;
    tasks.push_back(std::move(task));
  }
  files->Submit(std::move(tasks));
  gate = false;
  EXPECT_EQ(harness.Await(op), (std::vector<int32_t>{0, 0, 0, kEndOfFile, kEndOfFile, kEndOfFile}));
  EXPECT_EQ(journal.lines, (std::vector<std::string>{name("store", 0), name("load", 0), name("store", 1), name("load", 1), name("store", 2), name("load", 2)}));
}

TEST_P(FileEngineTest, StopCancelsWhatWaitsAndLetsTheRestEnd) {
  EngineHarness harness(With(GetParam(), 1, 1), 1 << 20);
  FileEngine* files = Files(harness);
  Journal journal;
  std::atomic<bool> gate{true};
  std::vector<uint8_t> head(10);
  std::vector<uint8_t> body(10);
  const uint32_t op = harness.NextOp();
  auto operation = harness.engine->Begin(op, 3);
  std::vector<std::shared_ptr<FileTask>> tasks;
  for (uint32_t i = 0; i < 3; ++i) {
    auto task = std::make_shared<TestTask>(folder_.path + "/" + std::to_string(i), false, &head, &body, operation, i);
    task->files = files;
    task->journal = &journal;
    task->gate = &gate;
    tasks.push_back(std::move(task));
  }
  files->Submit(std::move(tasks));
  for (bool started = false; !started;) {
    std::lock_guard<std::mutex> lock(journal.mutex);
    started = !journal.lines.empty();
  }
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    gate = false;
  });
  harness.engine->Shutdown();
  opener.join();
  EXPECT_EQ(harness.Await(op), (std::vector<int32_t>{0, item_status::kCancelled, item_status::kCancelled}));
  EXPECT_TRUE(std::filesystem::exists(folder_.path + "/0"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path + "/1"));
}

// A real short write in both engines: the file may grow to 100,000 bytes, so the transfer stops there and the rest is refused.
TEST_P(FileEngineTest, AWriteThatTheKernelCutsShortGoesOnAndReportsItsError) {
  signal(SIGXFSZ, SIG_IGN);
  EngineHarness harness(With(GetParam()), 1 << 20);
  FileEngine* files = Files(harness);
  std::vector<uint8_t> head(10 * 1000);
  std::vector<uint8_t> body(200 * 1000);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{100 * 1000, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const uint32_t op = harness.NextOp();
  files->Submit({std::make_shared<TestTask>(folder_.path + "/f", false, &head, &body, harness.engine->Begin(op, 1), 0)});
  EXPECT_EQ(harness.Await(op), (std::vector<int32_t>{-EFBIG}));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_EQ(std::filesystem::file_size(folder_.path + "/f"), 100u * 1000);
}

TEST_P(FileEngineTest, AReadThatMeetsTheEndSaysSo) {
  EngineHarness harness(With(GetParam()), 1 << 20);
  FileEngine* files = Files(harness);
  std::vector<uint8_t> head(4096);
  std::vector<uint8_t> body(10 * 1000 * 1000);
  for (size_t bytes : {0u, 100u, 4096u, 9000u, 9999999u}) {
    const int file = open((folder_.path + "/f").c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ASSERT_EQ(ftruncate(file, static_cast<off_t>(bytes)), 0);
    close(file);
    const uint32_t op = harness.NextOp();
    files->Submit({std::make_shared<TestTask>(folder_.path + "/f", true, &head, &body, harness.engine->Begin(op, 1), 0)});
    EXPECT_EQ(harness.Await(op), (std::vector<int32_t>{kEndOfFile}));
  }
}

TEST_F(FileEngineOneTest, ShortAndInterruptedTransfersGoOnWhereTheyStopped) {
  const SystemCalls calls = FaultyCalls();
  EngineHarness harness(With(FileEngineChoice::kThreads), 1 << 20);
  FileEngine* files = Files(harness, &calls);
  faults.most_bytes = 777;
  faults.interruptions = 25;
  WriteAndRead(harness, files, 10, 30 * 1000);
}

TEST_F(FileEngineOneTest, RefusalsOfIoUringAreToldInWordsAndThreadsDoTheWork) {
  struct Case {
    int setup;
    int probe;
    const char* reason;
  };
  const SystemCalls calls = FaultyCalls();
  for (const Case& refused : {Case{-EPERM, 0, "EPERM from io_uring_setup"}, Case{-ENOSYS, 0, "ENOSYS from io_uring_setup"}, Case{-EACCES, 0, "EACCES from io_uring_setup"},
                              Case{0, -EPERM, "EPERM from io_uring_register(PROBE)"}, Case{0, -EINVAL, "EINVAL from io_uring_register(PROBE)"}}) {
    faults.setup = refused.setup;
    faults.probe = refused.probe;
    EngineHarness harness(With(FileEngineChoice::kAuto), 1 << 20);
    FileEngine* files = Files(harness, &calls);
    EXPECT_STREQ(files->Name(), "threads");
    EXPECT_EQ(files->Reason(), refused.reason);
    WriteAndRead(harness, files, 5, 10000);

    EngineHarness insisting(With(FileEngineChoice::kIoUring), 1 << 20);
    FileEngine* none = nullptr;
    const Status status = FileEngine::For(insisting.engine.get(), &none, &calls);
    EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
    EXPECT_NE(status.message().find(refused.reason), std::string::npos) << status.message();
    EXPECT_EQ(insisting.engine->file_backend(), nullptr);
  }
}

/// Makes the kernel answer io_uring_setup with this error from now on, as a container's seccomp profile does.
bool RefuseIoUring(int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 425 /* io_uring_setup */, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(FileEngineOneTest, ARealRefusalByTheKernelIsToldAndThreadsDoTheWork) {
  const std::pair<int, const char*> cases[] = {{EPERM, "EPERM from io_uring_setup"}, {ENOSYS, "ENOSYS from io_uring_setup"}};
  for (const auto& [error, reason] : cases) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (!RefuseIoUring(error)) _exit(2);
      {
        EngineHarness harness(With(FileEngineChoice::kAuto), 1 << 20);
        FileEngine* files = Files(harness);
        WriteAndRead(harness, files, 10, 100000);
        if (files->Reason() != reason || std::string(files->Name()) != "threads" || HasFailure()) _exit(1);
      }
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0) << "1 = wrong engine, reason or bytes; 2 = no seccomp here";
  }
}

TEST_F(FileEngineOneTest, RefusedMemoryNamesTheLimitThatMendsIt) {
  const SystemCalls calls = FaultyCalls();
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const rlimit small{65536, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &small), 0);
  faults.setup = -ENOMEM;
  EngineHarness harness(With(FileEngineChoice::kAuto), 1 << 20);
  FileEngine* files = Files(harness, &calls);
  EXPECT_STREQ(files->Name(), "threads");
  EXPECT_EQ(files->Reason(), "ENOMEM from io_uring_setup (RLIMIT_MEMLOCK is 65536 bytes)");
  // And under the limit itself, whichever engine this kernel gives.
  EngineHarness real(With(FileEngineChoice::kAuto), 1 << 20);
  WriteAndRead(real, Files(real), 20, 100000);
  setrlimit(RLIMIT_MEMLOCK, &limit);
}

TEST_F(FileEngineOneTest, TheChoiceIsVisible) {
  EngineHarness threads(With(FileEngineChoice::kThreads), 1 << 20);
  EXPECT_STREQ(Files(threads)->Name(), "threads");
  EXPECT_EQ(Files(threads)->Reason(), "asked for");
  EXPECT_EQ(Files(threads), Files(threads)) << "one per engine";
  EngineOptions options;
  options.stepped = true;
  EngineHarness stepped(options, 1 << 20);
  EXPECT_STREQ(Files(stepped)->Name(), "threads");
  EXPECT_EQ(stepped.engine->Stats().file_engine_reason, "stepped mode runs file work on the caller's thread");
}

TEST_F(FileEngineOneTest, SteppedBatchesRunWhenTold) {
  EngineOptions options;
  options.stepped = true;
  EngineHarness harness(options, 1 << 20);
  FileEngine* files = Files(harness);
  std::vector<uint8_t> head(10, 1);
  std::vector<uint8_t> body(20, 2);
  const uint32_t op = harness.NextOp();
  auto operation = harness.engine->Begin(op, 2);
  std::vector<std::shared_ptr<FileTask>> tasks;
  for (uint32_t i = 0; i < 2; ++i) tasks.push_back(std::make_shared<TestTask>(folder_.path + "/" + std::to_string(i), false, &head, &body, operation, i));
  operation.reset();
  files->Submit(std::move(tasks));
  EXPECT_FALSE(std::filesystem::exists(folder_.path + "/0"));
  EXPECT_EQ(files->BytesInFlight(), 60u);
  EXPECT_EQ(harness.engine->Step(1), 1u);
  EXPECT_TRUE(harness.HasEnded(op));
  EXPECT_EQ(harness.Await(op), (std::vector<int32_t>{0, 0}));
  EXPECT_TRUE(std::filesystem::exists(folder_.path + "/1"));
  EXPECT_EQ(files->BytesInFlight(), 0u);
}

TEST(FileTransfer, ProgressOfDirectTransfersStaysOnPages) {
  FileTransfer transfer;
  transfer.write = true;
  EXPECT_EQ(ProgressOf(transfer, 100, 4096).bytes, 100u);
  EXPECT_EQ(ProgressOf(transfer, 4096, 4096).bytes, 4096u);
  EXPECT_EQ(ProgressOf(transfer, 0, 4096).error, -EIO) << "a write that makes no progress must not loop";
  EXPECT_EQ(ProgressOf(transfer, -ENOSPC, 4096).error, -ENOSPC);
  EXPECT_EQ(ProgressOf(transfer, -EINTR, 4096).error, 0);
  EXPECT_EQ(ProgressOf(transfer, -EINTR, 4096).bytes, 0u);
  transfer.direct = true;
  EXPECT_EQ(ProgressOf(transfer, 5000, 16384).bytes, 4096u);
  EXPECT_EQ(ProgressOf(transfer, 100, 16384).error, -EIO);
  transfer.write = false;
  EXPECT_EQ(ProgressOf(transfer, 100, 16384).error, kEndOfFile);
  EXPECT_EQ(ProgressOf(transfer, 0, 16384).error, kEndOfFile);
}

TEST(FileTransfer, SlicesCoverBothPieces) {
  uint8_t head[10];
  uint8_t body[20];
  FileTransfer transfer;
  transfer.pieces[0] = {head, 10};
  transfer.pieces[1] = {body, 20};
  iovec vectors[2];
  ASSERT_EQ(SliceOf(transfer, 0, 30, vectors), 2);
  ASSERT_EQ(SliceOf(transfer, 4, 10, vectors), 2);
  EXPECT_EQ(vectors[0].iov_base, head + 4);
  EXPECT_EQ(vectors[0].iov_len, 6u);
  EXPECT_EQ(vectors[1].iov_base, body);
  EXPECT_EQ(vectors[1].iov_len, 4u);
  ASSERT_EQ(SliceOf(transfer, 10, 5, vectors), 1);
  EXPECT_EQ(vectors[0].iov_base, body);
  ASSERT_EQ(SliceOf(transfer, 3, 5, vectors), 1);
  EXPECT_EQ(SliceOf(transfer, 30, 5, vectors), 0);
}

}  // namespace
}  // namespace kvferry
