#include "tests/support/framing.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace mailrail {
namespace {

bool ReadAll(int fd, char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t count = recv(fd, data, bytes, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    data += count;
    bytes -= static_cast<size_t>(count);
  }
  return true;
}

bool WriteAll(int fd, const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t count = send(fd, data, bytes, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    data += count;
    bytes -= static_cast<size_t>(count);
  }
  return true;
}

}  // namespace

bool WriteFrame(int fd, const google::protobuf::MessageLite& message) {
  const auto bytes = static_cast<uint32_t>(message.ByteSizeLong());
  std::string frame(sizeof(bytes), '\0');
  std::memcpy(frame.data(), &bytes, sizeof(bytes));
  message.AppendToString(&frame);
  return WriteAll(fd, frame.data(), frame.size());
}

bool ReadFrame(int fd, google::protobuf::MessageLite& message) {
  uint32_t bytes = 0;
  if (!ReadAll(fd, reinterpret_cast<char*>(&bytes), sizeof(bytes))) return false;
  std::string frame(bytes, '\0');
  return ReadAll(fd, frame.data(), frame.size()) && message.ParseFromString(frame);
}

}  // namespace mailrail
