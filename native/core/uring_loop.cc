#include "uring_loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "worker_thread.h"

namespace kvferry {
namespace {

constexpr uint64_t kWake = UINT64_MAX;

}  // namespace

std::unique_ptr<UringLoop> UringLoop::Open(FileEngine* files, const SystemCalls& calls, std::string* reason) {
  // One entry more than pieces, for the wake-up; the kernel rounds up to a power of two.
  std::unique_ptr<IoUring> uring = IoUring::Open(calls, kDepth + 1, reason);
  if (uring == nullptr) return nullptr;
  const int wake = eventfd(0, EFD_CLOEXEC);
  if (wake < 0) {
    *reason = "error " + std::to_string(errno) + " from eventfd";
    return nullptr;
  }
  std::unique_ptr<UringLoop> loop(new UringLoop(files, std::move(uring), wake));
  loop->pieces_.resize(kDepth);
  for (uint32_t index = 0; index < kDepth; ++index) loop->free_pieces_.push_back(kDepth - 1 - index);
  try {
    loop->thread_ = std::thread(&UringLoop::Work, loop.get());
  } catch (const std::system_error& error) {
    *reason = std::string("no thread for io_uring: ") + error.what();
    return nullptr;
  }
  return loop;
}

UringLoop::~UringLoop() {
  Stop();
  close(wake_);
}

void UringLoop::Submit(std::shared_ptr<FileTask> task) {
  bool ring;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    submitted_.push_back(std::move(task));
    ring = !rung_;
    rung_ = true;
  }
  if (ring) eventfd_write(wake_, 1);
}

void UringLoop::Stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  eventfd_write(wake_, 1);
  thread_.join();
}

void UringLoop::Work() {
  BecomeWorker("kvferry-uring");

  for (;;) {
    TakeSubmitted();
    FillQueue();
    if (ending_ && active_.empty() && waiting_.empty()) {
      // The wake-up has been taken and is not armed again, so the kernel holds no pointer of ours.
      if (!wake_armed_) return;
    } else if (!wake_armed_) {
      wake_armed_ = uring_->QueueRead(wake_, &wake_value_, sizeof wake_value_, kWake);
    }
    const int entered = uring_->Enter(1);
    // Anything but these says that the kernel is short of memory for requests: it has what it took, the rest waits.
    if (entered < 0 && entered != -EINTR && entered != -EBUSY) std::this_thread::sleep_for(std::chrono::milliseconds(1));

    uint64_t user_data;
    int32_t result;
    while (uring_->Take(&user_data, &result)) {
      if (user_data == kWake) {
        wake_armed_ = false;
      } else {
        FinishPiece(static_cast<uint32_t>(user_data), result);
      }
    }
  }
}

void UringLoop::TakeSubmitted() {
  std::vector<std::shared_ptr<FileTask>> submitted;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    submitted.swap(submitted_);
    rung_ = false;
    ending_ = stopping_;
  }
  for (auto& task : submitted) {
    auto active = std::make_unique<Active>();
    active->task = std::move(task);
    waiting_.push_back(std::move(active));
  }
}

void UringLoop::FillQueue() {
  while (!again_.empty() && QueuePiece(again_.back())) again_.pop_back();
  while (!free_pieces_.empty() && !waiting_.empty()) {
    Active* active = waiting_.front().get();
    const uint64_t total = active->task->transfer_.bytes();
    const uint32_t index = free_pieces_.back();
    Piece& piece = pieces_[index];
    piece.active = active;
    piece.offset = active->queued_bytes;
    piece.bytes = std::min(kPieceBytes, total - active->queued_bytes);
    if (!QueuePiece(index)) return;
    free_pieces_.pop_back();
    active->queued_bytes += piece.bytes;
    ++active->pieces;
    // After an error the rest of the object is not worth starting.
    if (active->queued_bytes == total || active->error != 0) {
      active_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
}

bool UringLoop::QueuePiece(uint32_t index) {
  Piece& piece = pieces_[index];
  const FileTransfer& transfer = piece.active->task->transfer_;
  const int count = SliceOf(transfer, piece.offset, piece.bytes, piece.vectors);
  return uring_->QueueVectors(transfer.write, transfer.file, piece.vectors, static_cast<unsigned>(count), transfer.offset + piece.offset, index);
}

void UringLoop::FinishPiece(uint32_t index, int32_t result) {
  Piece& piece = pieces_[index];
  const TransferProgress progress = ProgressOf(piece.active->task->transfer_, result, piece.bytes);
  if (progress.error != 0) {
    piece.active->error = progress.error;
  } else {
    piece.offset += progress.bytes;
    piece.bytes -= progress.bytes;
    if (piece.bytes > 0) {
      again_.push_back(index);
      return;
    }
  }
  EndPiece(index);
}

void UringLoop::EndPiece(uint32_t index) {
  Active* active = pieces_[index].active;
  pieces_[index].active = nullptr;
  free_pieces_.push_back(index);
  if (--active->pieces > 0) return;
  // A transfer still in front of the queue has pieces to come, unless an error makes them pointless.
  const bool waits = !waiting_.empty() && waiting_.front().get() == active;
  if (waits && active->error == 0) return;
  std::unique_ptr<Active> ended;
  if (waits) {
    ended = std::move(waiting_.front());
    waiting_.pop_front();
  } else {
    auto found = std::find_if(active_.begin(), active_.end(), [active](const auto& candidate) { return candidate.get() == active; });
    ended = std::move(*found);
    *found = std::move(active_.back());
    active_.pop_back();
  }
  files_->Transferred(std::move(ended->task), ended->error);
}

}  // namespace kvferry
