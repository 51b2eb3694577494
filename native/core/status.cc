#include "status.h"

#include <system_error>

namespace kvferry {

Status Status::System(const std::string& what, int error_number) {
  return {StatusCode::kSystem, what + ": " + std::generic_category().message(error_number)};
}

const std::string& Status::message() const noexcept {
  // Never destroyed: worker threads may still run while the process exits.
  static const std::string& empty = *new std::string;
  return state_ ? state_->message : empty;
}

}  // namespace kvferry
