#include "memory_reservation.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

namespace kvferry {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::string SharedName() { return "kvferry_test_" + std::to_string(getpid()); }

/// A /dev/shm of 64 MiB, as Docker gives it by default.
int SixtyFourMiB(int file, off_t offset, off_t bytes) {
  if (offset + bytes > static_cast<off_t>(64 * kMiB) - 8192) return ENOSPC;
  return posix_fallocate(file, offset, bytes);
}

int NoRoom(int, off_t, off_t) { return ENOSPC; }
int Refused(int, off_t, off_t) { return EOPNOTSUPP; }

TEST(MemoryReservationTest, PrivateMemoryTakesNothingUntilItIsTouched) {
  MemoryReservation memory;
  ASSERT_TRUE(memory.OpenPrivate(uint64_t{64} << 30, false).ok());
  EXPECT_LE(memory.PopulatedBytes(), 0);
  memory.base()[0] = 1;
  memory.base()[(uint64_t{64} << 30) - 1] = 1;
  EXPECT_EQ(memory.PopulatedBytes(), 2 * 4096);
}

TEST(MemoryReservationTest, LargeReservationsBeginOnAHugePageAndSmallOnesAskForNone) {
  MemoryReservation small;
  ASSERT_TRUE(small.OpenPrivate(kMiB, true).ok());
  EXPECT_EQ(small.huge_pages(), HugePageState::kOff);
  MemoryReservation large;
  ASSERT_TRUE(large.OpenPrivate(4 * kMiB, true).ok());
  EXPECT_NE(large.huge_pages(), HugePageState::kOff);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large.base()) % (2 * kMiB), 0u);
}

TEST(MemoryReservationTest, AWriteOnEitherSideIsAFault) {
  MemoryReservation memory;
  ASSERT_TRUE(memory.OpenPrivate(64 * 1024, false).ok());
  EXPECT_DEATH(memory.base()[64 * 1024] = 1, "");
  EXPECT_DEATH(memory.base()[-1] = 1, "");
}

TEST(MemoryReservationTest, AChildProcessDoesNotHaveThePages) {
  // A fork between submission and completion of a transfer would otherwise copy pages under it.
  MemoryReservation memory;
  ASSERT_TRUE(memory.OpenPrivate(64 * 1024, false).ok());
  memory.base()[0] = 1;
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const pid_t child = fork();
  if (child == 0) {
    // write() answers EFAULT for an address that is not mapped.
    _exit(write(pipes[1], memory.base(), 1) == -1 && errno == EFAULT ? 7 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  close(pipes[0]);
  close(pipes[1]);
}

TEST(MemoryReservationTest, ASmallFileSystemGivesWhatItHas) {
  MemoryReservation memory;
  ASSERT_TRUE(memory.OpenShared(SharedName(), 256 * kMiB, kMiB, false, SixtyFourMiB).ok());
  EXPECT_LE(memory.bytes(), 64 * kMiB - 8192);
  EXPECT_GE(memory.bytes(), 63 * kMiB);
  EXPECT_EQ(memory.bytes() % 4096, 0u);
  // Every page has its backing: none of these can be SIGBUS.
  for (uint64_t offset = 0; offset < memory.bytes(); offset += 4096) memory.base()[offset] = 1;
}

TEST(MemoryReservationTest, TooLittleRoomIsAnErrorThatLeavesNothingBehind) {
  for (MemoryReservation::AllocateCall allocate : {NoRoom, Refused}) {
    MemoryReservation memory;
    const Status status = memory.OpenShared(SharedName(), 2 * kMiB, 64 * 1024, false, allocate);
    EXPECT_EQ(status.code(), StatusCode::kSystem);
    EXPECT_NE(status.message().find("2097152 bytes of shared memory"), std::string::npos) << status.message();
    EXPECT_NE(access(("/dev/shm/" + SharedName()).c_str(), F_OK), 0);
  }
}

TEST(MemoryReservationTest, ANameIsTakenOverFromADeadOwnerOnly) {
  // Once: the child has another process id.
  const std::string name = SharedName();
  MemoryReservation living;
  ASSERT_TRUE(living.OpenShared(name, kMiB, kMiB, false).ok());
  MemoryReservation second;
  const Status held = second.OpenShared(name, kMiB, kMiB, false);
  EXPECT_EQ(held.code(), StatusCode::kNameTaken);
  EXPECT_NE(held.message().find(name + " is held by a live process"), std::string::npos) << held.message();
  living.base()[0] = 1;
  living.Close();

  const pid_t child = fork();
  if (child == 0) {
    MemoryReservation* dies = new MemoryReservation;
    const bool opened = dies->OpenShared(name, kMiB, kMiB, false).ok();
    if (opened) dies->base()[0] = 42;
    _exit(opened ? 0 : 1);
  }
  int result = -1;
  ASSERT_EQ(waitpid(child, &result, 0), child);
  ASSERT_EQ(result, 0);
  const std::string path = "/dev/shm/" + name;
  ASSERT_EQ(access(path.c_str(), F_OK), 0) << "the dead process left its memory behind, or the test shows nothing";
  const Status taken = second.OpenShared(name, 2 * kMiB, 2 * kMiB, false);
  ASSERT_TRUE(taken.ok()) << taken.message();
  EXPECT_EQ(second.bytes(), 2 * kMiB);
  EXPECT_EQ(second.base()[0], 0) << "a new object, not the dead one's bytes";
  EXPECT_EQ(living.OpenShared(name, kMiB, kMiB, false).code(), StatusCode::kNameTaken) << "the new owner holds it";
}

TEST(MemoryReservationTest, SharedMemoryOfOtherProgramsIsNotTakenOver) {
  const std::string path = "/dev/shm/" + SharedName();
  const int file = open(path.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
  ASSERT_GE(file, 0);
  close(file);
  MemoryReservation memory;
  const Status status = memory.OpenShared(SharedName(), kMiB, kMiB, false);
  EXPECT_EQ(status.code(), StatusCode::kNameTaken);
  EXPECT_NE(status.message().find("is not kvferry's"), std::string::npos) << status.message();
  EXPECT_EQ(unlink(path.c_str()), 0) << "it is still there";
}

TEST(MemoryReservationTest, AnotherProcessSeesTheBytes) {
  MemoryReservation memory;
  ASSERT_TRUE(memory.OpenShared(SharedName(), kMiB, kMiB, true).ok());
  std::memcpy(memory.base() + 5000, "shared", 6);
  const int file = open(("/dev/shm/" + SharedName()).c_str(), O_RDONLY);
  ASSERT_GE(file, 0);
  char text[6];
  EXPECT_EQ(pread(file, text, 6, 5000), 6);
  close(file);
  EXPECT_EQ(std::string(text, 6), "shared");
}

}  // namespace
}  // namespace kvferry
