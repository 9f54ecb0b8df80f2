#include "node/cli/line_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mailrail::cli {
namespace {

constexpr size_t kReadBytes = 256 * 1024;

absl::Status ReadError(int error) {
  return absl::UnavailableError(absl::StrCat("cannot read the input: ", strerror(error)));
}

// The number of bytes read, 0 at the end.
absl::StatusOr<size_t> ReadSome(int fd, char* to, size_t bytes) {
  ssize_t size;
  while ((size = read(fd, to, bytes)) < 0) {
    if (errno != EINTR) return ReadError(errno);
  }
  return static_cast<size_t>(size);
}

}  // namespace

absl::Status LineReader::Fill() {
  if (begin_ > 0) {
    memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    scanned_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < kReadBytes) {
    buffer_.resize(std::max(2 * buffer_.size(), end_ + kReadBytes));
  }
  const absl::StatusOr<size_t> size = ReadSome(fd_, buffer_.data() + end_, kReadBytes);
  if (!size.ok()) return size.status();
  end_ += *size;
  at_end_ = *size == 0;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<absl::string_view>> LineReader::Next() {
  std::vector<absl::string_view> lines;
  while (lines.empty()) {
    const absl::string_view read(buffer_.data(), end_);
    size_t newline;
    while ((newline = read.find('\n', scanned_)) != absl::string_view::npos &&
           newline - begin_ <= max_line_bytes_) {
      lines.push_back(read.substr(begin_, newline - begin_));
      begin_ = scanned_ = newline + 1;
    }
    if (!lines.empty()) break;
    if (newline != absl::string_view::npos || end_ - begin_ > max_line_bytes_) {
      return absl::InvalidArgumentError(
          absl::StrCat("the line is longer than ", max_line_bytes_, " bytes"));
    }
    scanned_ = end_;
    if (at_end_) {
      if (begin_ < end_) lines.push_back(read.substr(begin_));
      begin_ = end_;
      break;
    }
    if (absl::Status status = Fill(); !status.ok()) return status;
  }
  return lines;
}

absl::StatusOr<std::string> ReadAll(int fd, size_t max_bytes) {
  // A file's size is known before; one byte more shows its end.
  struct stat status;
  size_t guess = kReadBytes;
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    guess = std::min(static_cast<size_t>(status.st_size), max_bytes) + 1;
  }
  std::string text;
  size_t end = 0;
  while (true) {
    if (end == text.size()) text.resize(end == 0 ? guess : 2 * end);
    const absl::StatusOr<size_t> size = ReadSome(fd, text.data() + end, text.size() - end);
    if (!size.ok()) return size.status();
    end += *size;
    if (end > max_bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("the message is larger than ", max_bytes, " bytes"));
    }
    if (*size == 0) break;
  }
  text.resize(end);
  return text;
}

}  // namespace mailrail::cli
