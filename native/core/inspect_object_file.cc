#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "crc32c.h"
#include "object_files.h"

namespace kvferry {
namespace {

constexpr uint64_t kReadBytes = uint64_t{1} << 20;

/// All of `count` bytes at `offset`; a sentence when they are not there.
std::string ReadAll(const SystemCalls& calls, int file, uint8_t* bytes, uint64_t count, uint64_t offset) {
  FileTransfer transfer;
  transfer.file = file;
  transfer.pieces[0] = {bytes, count};
  transfer.offset = offset;
  const int32_t result = TransferNow(calls, transfer);
  if (result == 0) return "";
  return result == kEndOfFile ? "it ended while it was being read" : std::string(strerror(-result)) + " from reading it";
}

std::string ProblemOfPayload(const SystemCalls& calls, int file, const ObjectHeader& header) {
  std::vector<uint8_t> buffer(std::min(kReadBytes, PaddedBytes(header.payload_bytes)));
  uint32_t crc = 0;
  for (uint64_t done = 0; done < PaddedBytes(header.payload_bytes);) {
    const uint64_t part = std::min<uint64_t>(buffer.size(), PaddedBytes(header.payload_bytes) - done);
    if (std::string problem = ReadAll(calls, file, buffer.data(), part, kObjectPageBytes + done); !problem.empty()) return problem;
    crc = Crc32cExtend(crc, buffer.data(), part);
    done += part;
  }
  return crc == header.padded_crc ? "" : "the payload does not match its checksum";
}

}  // namespace

ObjectFileReport InspectOpenFile(const SystemCalls& calls, int file) {
  ObjectFileReport report;
  struct stat status;
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    report.problem = "it is not a regular file";
    return report;
  }
  report.file_bytes = static_cast<uint64_t>(status.st_size);
  if (report.file_bytes < kObjectPageBytes) {
    report.problem = "it has " + std::to_string(report.file_bytes) + " bytes; a header alone has " + std::to_string(kObjectPageBytes);
    return report;
  }
  std::vector<uint8_t> page(kObjectPageBytes);
  report.problem = ReadAll(calls, file, page.data(), kObjectPageBytes, 0);
  if (!report.problem.empty() || DecodeHeader(page.data(), &report.header, &report.problem) != HeaderState::kIntact) return report;
  if (report.file_bytes != ObjectFileBytes(report.header.payload_bytes)) {
    report.problem = "it has " + std::to_string(report.file_bytes) + " bytes; its header promises " + std::to_string(ObjectFileBytes(report.header.payload_bytes));
    return report;
  }
  report.problem = ProblemOfPayload(calls, file, report.header);
  return report;
}

ObjectFileReport InspectObjectFile(const std::string& path) {
  FileHandle file(KernelCalls()->open_at(AT_FDCWD, path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0));
  if (file.get() < 0) {
    ObjectFileReport report;
    report.problem = std::string(strerror(-file.get())) + " from opening it";
    return report;
  }
  ObjectFileReport report = InspectOpenFile(*KernelCalls(), file.get());
  // An intact object under the name of another key is as lost as a damaged one.
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  FileIdentity named;
  if (report.problem.empty() && ParseObjectName(name.c_str(), &named) && named != IdentityOf(report.header.key))
    report.problem = "it holds another key's object; this key's file is named " + ObjectName(IdentityOf(report.header.key).data());
  return report;
}

}  // namespace kvferry
