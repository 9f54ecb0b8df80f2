#ifndef MAILRAIL_TESTS_SUPPORT_FRAMING_H_
#define MAILRAIL_TESTS_SUPPORT_FRAMING_H_

#include "google/protobuf/message_lite.h"

namespace mailrail {

// Protobuf messages over a stream socket, each with its size in front (party.proto). False when the
// other end is gone.
bool WriteFrame(int fd, const google::protobuf::MessageLite& message);
bool ReadFrame(int fd, google::protobuf::MessageLite& message);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_FRAMING_H_
