// UringLoop: the thread that feeds an io_uring with transfers and hears of their ends.
//
// A transfer is cut into pieces of at most kPieceBytes, so that large objects share the queue fairly and the device sees
// several requests of one object at once; at most kDepth pieces are in the kernel. Short transfers go on where they stopped.
//
// Thread safety: Submit from any thread; Open and Stop on the owner's.
#ifndef KVFERRY_CORE_URING_LOOP_H_
#define KVFERRY_CORE_URING_LOOP_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "file_engine.h"
#include "io_uring.h"

namespace kvferry {

class UringLoop {
 public:
  static constexpr uint32_t kDepth = 64;
  static constexpr uint64_t kPieceBytes = uint64_t{4} << 20;

  /// Null when io_uring is refused; `*reason` then says why.
  static std::unique_ptr<UringLoop> Open(FileEngine* files, const SystemCalls& calls, std::string* reason);
  ~UringLoop();

  void Submit(std::shared_ptr<FileTask> task);
  /// REQUIRES: no transfer is running and none will be submitted. Joins the thread.
  void Stop();

 private:
  struct Active {
    std::shared_ptr<FileTask> task;
    uint64_t queued_bytes = 0;
    uint32_t pieces = 0;
    int32_t error = 0;
  };
  struct Piece {
    Active* active = nullptr;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    iovec vectors[2] = {};
  };

  UringLoop(FileEngine* files, std::unique_ptr<IoUring> uring, int wake) : files_(files), uring_(std::move(uring)), wake_(wake) {}
  void Work();
  void TakeSubmitted();
  void FillQueue();
  bool QueuePiece(uint32_t index);
  void FinishPiece(uint32_t index, int32_t result);
  void EndPiece(uint32_t index);

  FileEngine* const files_;
  std::unique_ptr<IoUring> uring_;
  const int wake_;
  std::thread thread_;

  std::mutex mutex_;
  std::vector<std::shared_ptr<FileTask>> submitted_;  // guarded by mutex_
  bool stopping_ = false;                             // guarded by mutex_
  bool rung_ = false;                                 // guarded by mutex_

  // Owned by the loop's thread.
  uint64_t wake_value_ = 0;
  bool wake_armed_ = false;
  bool ending_ = false;
  std::deque<std::unique_ptr<Active>> waiting_;
  std::vector<std::unique_ptr<Active>> active_;
  std::vector<Piece> pieces_;
  std::vector<uint32_t> free_pieces_;
  std::vector<uint32_t> again_;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_URING_LOOP_H_
