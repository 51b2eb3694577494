#include "system_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace kvferry {
namespace {

template <class T>
T OrErrno(T result) {
  return result < 0 ? static_cast<T>(-errno) : result;
}

// Raw system calls where the C library of our oldest target has no wrapper. Numbers are those of the generic table, which
// x86-64 and arm64 share for everything from 424 on; headers of 2018 do not name them.
#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#define __NR_io_uring_register 427
#endif

int Setup(unsigned entries, io_uring_params* params) { return OrErrno(static_cast<int>(syscall(__NR_io_uring_setup, entries, params))); }

int Enter(int ring, unsigned to_submit, unsigned min_complete, unsigned flags) {
  return OrErrno(static_cast<int>(syscall(__NR_io_uring_enter, ring, to_submit, min_complete, flags, nullptr, 0)));
}

int Register(int ring, unsigned opcode, void* argument, unsigned count) {
  return OrErrno(static_cast<int>(syscall(__NR_io_uring_register, ring, opcode, argument, count)));
}

int OpenAt(int directory, const char* path, int flags, mode_t mode) { return OrErrno(openat(directory, path, flags, mode)); }

ssize_t ReadVectors(int file, const iovec* vectors, int count, off_t offset) { return OrErrno(preadv(file, vectors, count, offset)); }

ssize_t WriteVectors(int file, const iovec* vectors, int count, off_t offset) { return OrErrno(pwritev(file, vectors, count, offset)); }

int SyncFile(int file) { return OrErrno(fsync(file)); }

int LinkAt(int from_directory, const char* from, int to_directory, const char* to) { return OrErrno(linkat(from_directory, from, to_directory, to, 0)); }

int RenameAt(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
  return OrErrno(static_cast<int>(syscall(SYS_renameat2, from_directory, from, to_directory, to, flags)));
}

const SystemCalls kKernelCalls = {Setup, Enter, Register, OpenAt, ReadVectors, WriteVectors, SyncFile, LinkAt, RenameAt};

}  // namespace

const SystemCalls* KernelCalls() noexcept { return &kKernelCalls; }

}  // namespace kvferry
