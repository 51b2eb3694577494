// A Status says whether a call of the core succeeded and, if not, what kind of mistake or failure it was, in words a person
// can act on. The core throws no exceptions of its own; native/napi turns a Status into a JavaScript exception:
//   kInvalidArgument -> TypeError              kOutOfRange -> RangeError
//   kStaleHandle     -> RangeError, code KVFERRY_STALE_HANDLE
//   kClosed          -> Error, code KVFERRY_CLOSED
//   kBusy            -> Error, code KVFERRY_STATE
//   kNameTaken       -> Error, code KVFERRY_SHARED_NAME
//   kSystem          -> Error, code KVFERRY_NATIVE (the message holds the errno text)
//
// Thread safety: a value type; const methods may run concurrently.
#ifndef KVFERRY_CORE_STATUS_H_
#define KVFERRY_CORE_STATUS_H_

#include <memory>
#include <string>
#include <utility>

namespace kvferry {

enum class StatusCode { kOk, kInvalidArgument, kOutOfRange, kStaleHandle, kClosed, kBusy, kNameTaken, kSystem };

class [[nodiscard]] Status {
 public:
  /// Success; costs one null pointer.
  Status() noexcept = default;

  static Status InvalidArgument(std::string message) { return {StatusCode::kInvalidArgument, std::move(message)}; }
  static Status OutOfRange(std::string message) { return {StatusCode::kOutOfRange, std::move(message)}; }
  static Status StaleHandle(std::string message) { return {StatusCode::kStaleHandle, std::move(message)}; }
  static Status Closed(std::string message) { return {StatusCode::kClosed, std::move(message)}; }
  static Status Busy(std::string message) { return {StatusCode::kBusy, std::move(message)}; }
  /// Shared memory of the wanted name is somebody else's.
  static Status NameTaken(std::string message) { return {StatusCode::kNameTaken, std::move(message)}; }
  /// `what` names the call that failed, for example "mmap of 64 GiB".
  static Status System(const std::string& what, int error_number);

  bool ok() const noexcept { return state_ == nullptr; }
  StatusCode code() const noexcept { return state_ ? state_->code : StatusCode::kOk; }
  /// Empty when ok.
  const std::string& message() const noexcept;

 private:
  struct State {
    StatusCode code;
    std::string message;
  };
  Status(StatusCode code, std::string message) : state_(std::make_shared<const State>(State{code, std::move(message)})) {}

  std::shared_ptr<const State> state_;
};

}  // namespace kvferry

#endif  // KVFERRY_CORE_STATUS_H_
