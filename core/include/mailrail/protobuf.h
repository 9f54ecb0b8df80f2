// Protobuf messages over Mailrail: serialised straight into the claimed room, parsed from the view.
// The only public header that needs protobuf; link it to use it.
#ifndef MAILRAIL_PROTOBUF_H_
#define MAILRAIL_PROTOBUF_H_

#include <limits>

#include "absl/status/status.h"
#include "google/protobuf/message_lite.h"
#include "mailrail/message.h"
#include "mailrail/sender.h"

namespace mailrail {

// Sends `message`; errors as Sender::Send, and kInvalidArgument when a required field is missing.
inline absl::Status SendProto(Sender& sender, const google::protobuf::MessageLite& message,
                              const SendOptions& options = {},
                              absl::Time deadline = absl::InfiniteFuture()) {
  if (!message.IsInitialized()) {
    return absl::InvalidArgumentError("message lacks required fields: " +
                                      message.InitializationErrorString());
  }
  const size_t size = message.ByteSizeLong();
  absl::StatusOr<ClaimedMessage> claim = sender.Claim(size, options, deadline);
  if (!claim.ok()) return claim.status();
  message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(claim->body().data()));
  return claim->Commit(deadline);
}

// Parses a received body. kDataLoss when the bytes are not such a message.
inline absl::Status ParseProto(const Message& received, google::protobuf::MessageLite* message) {
  if (received.body().size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !message->ParseFromArray(received.body().data(), static_cast<int>(received.body().size()))) {
    return absl::DataLossError("the body is not a valid " + message->GetTypeName());
  }
  return absl::OkStatus();
}

}  // namespace mailrail

#endif  // MAILRAIL_PROTOBUF_H_
