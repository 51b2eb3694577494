// What every thread of ours does first.
//
// Thread safety: called by the new thread about itself.
#ifndef KVFERRY_CORE_WORKER_THREAD_H_
#define KVFERRY_CORE_WORKER_THREAD_H_

#include <pthread.h>
#include <signal.h>

namespace kvferry {

/// Names the calling thread (at most 15 characters) and leaves signals to Node's own threads. Faults stay deliverable: blocked,
/// they would kill the process without a word.
inline void BecomeWorker(const char* name) noexcept {
  sigset_t signals;
  sigfillset(&signals);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&signals, fault);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  pthread_setname_np(pthread_self(), name);
}

}  // namespace kvferry

#endif  // KVFERRY_CORE_WORKER_THREAD_H_
