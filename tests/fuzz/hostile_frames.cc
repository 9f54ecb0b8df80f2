#include "tests/fuzz/hostile_frames.h"

#include "core/message/prefix.h"
#include "core/process/grants.h"
#include "node/carrier/record_codec.h"
#include "node/peer/options.h"

namespace mailrail {

proto::Hello HelloOf(const std::string& node, proto::SessionClass session_class) {
  proto::Hello hello;
  hello.set_cluster_id("fuzz");
  hello.set_node(node);
  hello.set_node_incarnation(1);
  hello.set_protocol_version(kProtocolVersion);
  hello.set_session_class(session_class);
  return hello;
}

std::string PackedRecord(absl::string_view body, bool has_prefix) {
  Record record;
  record.data = body.data();
  record.length = static_cast<uint32_t>(body.size());
  record.has_prefix = has_prefix;
  std::string packed;
  PackRecord(record, &packed);
  return packed;
}

void HostileFrames::Note(const proto::Frame& frame) {
  if (frame.has_lane_open()) last_lane_ = frame.lane_open().lane();
  if (frame.has_request()) last_request_ = frame.request().id();
  if (frame.has_want()) last_key_ = frame.want().receiver_key();
  if (frame.has_request() && frame.request().has_open_receiver()) {
    last_key_ = frame.request().open_receiver().receiver_key();
  }
  if (frame.has_delivery()) last_lease_ = frame.delivery().lease();
  if (frame.has_data()) last_data_ = frame.data();
}

proto::Envelope HostileFrames::AnyHello() {
  proto::Envelope message;
  if (input_->Byte() >= 0xe0) {
    message.mutable_refusal()->mutable_status()->set_code(static_cast<int>(input_->Number()));
    message.mutable_refusal()->mutable_status()->set_message(
        std::string(input_->Bytes(input_->Below(16))));
    return message;
  }
  const std::string nodes[] = {node_, "", "alpha", "beta", "no name!", std::string(100, 'n')};
  proto::Hello* const hello = message.mutable_hello();
  *hello = HelloOf(nodes[input_->Byte() >= 0xc0 ? input_->Below(6) : 0],
                   static_cast<proto::SessionClass>(input_->Below(input_->Bool() ? 3 : 2)));
  hello->set_node_incarnation(input_->Below(4));
  if (input_->Byte() >= 0xf0) hello->set_cluster_id("another");
  if (input_->Byte() >= 0xf0) hello->set_protocol_version(input_->Below(4));
  hello->set_advertised_address(std::string(input_->Bytes(input_->Below(8))));
  return message;
}

uint64_t HostileFrames::AnyLane() {
  const uint32_t which = input_->Below(8);
  return which == 7 ? last_lane_ : which == 6 ? sound_lane_ : which;
}

void HostileFrames::FillProcess(proto::ProcessRef* process) {
  switch (input_->Below(4)) {
    case 0:
      return internal::ToProto(witness_, process);
    case 1:
      process->set_node(std::string(input_->Bytes(input_->Below(8))));
      break;
    default:
      process->set_node(node_);
  }
  process->set_pid(static_cast<int32_t>(input_->Number()));
  process->set_incarnation(input_->Number());
}

void HostileFrames::FillLease(proto::LeaseName* lease) {
  if (input_->Bool()) *lease = last_lease_;
  if (input_->Bool()) return;
  lease->set_lane(input_->Number());
  lease->set_priority(input_->Below(34));
  lease->set_sequence(input_->Number());
  lease->set_attempts(static_cast<uint32_t>(input_->Number()));
  lease->set_delivery(input_->Number());
}

void HostileFrames::FillAccepted(proto::Accepted* accepted) {
  accepted->set_priority(input_->Below(34));
  accepted->set_sequence(input_->Number());
}

proto::Frame HostileFrames::AnyFrame() {
  proto::Frame frame;
  const uint32_t kind = input_->Byte();
  if (kind >= 252) {
    frame.mutable_extend()->set_receiver_key(AnyKey());
    FillLease(frame.mutable_extend()->mutable_lease());
    frame.mutable_extend()->set_time_ms(input_->Number());
    return frame;
  }
  switch (kind % 12) {
    case 0: {
      proto::LaneOpen* const open = frame.mutable_lane_open();
      open->set_lane(AnyLane());
      FillProcess(open->mutable_sender());
      if (input_->Bool()) {
        FillProcess(open->mutable_process());
        open->set_one_way(input_->Bool());
      } else {
        open->set_mailbox(AnyMailbox());
      }
      break;
    }
    case 1: {
      proto::LaneState* const state = frame.mutable_lane_state();
      state->set_lane(AnyLane());
      if (input_->Byte() >= 0xc0) state->mutable_status()->set_code(AnyCode());
      if (input_->Byte() >= 0xc0) FillAccepted(state->add_accepted());
      state->set_bulk_window_bytes(input_->Bool() ? 65536 : input_->Number());
      state->set_urgent_window_bytes(input_->Bool() ? 65536 : input_->Number());
      break;
    }
    case 2:
      frame.mutable_lane_end()->set_lane(AnyLane());
      frame.mutable_lane_end()->set_end_reason(input_->Below(8));
      break;
    case 3:
    case 4:
      FillData(frame.mutable_data());
      break;
    case 5:
      frame.mutable_ack()->set_lane(input_->Bool() ? last_data_.lane() : AnyLane());
      for (uint32_t i = input_->Below(3); i > 0; --i) {
        FillAccepted(frame.mutable_ack()->add_accepted());
      }
      break;
    case 6:
      FillRequest(frame.mutable_request());
      break;
    case 7:
      FillReply(frame.mutable_reply());
      break;
    default:
      FillReceiving(&frame);
  }
  return frame;
}

void HostileFrames::FillData(proto::Data* data) {
  data->set_lane(AnyLane());
  data->set_priority(input_->Bool() ? 0 : input_->Below(34));
  data->set_first_sequence(input_->Number());
  std::string* const records = data->mutable_records();
  for (uint32_t count = input_->Below(5); count > 0; --count) {
    switch (input_->Below(4)) {
      case 0:  // well-formed, of any size
        *records += PackedRecord(std::string(input_->Below(3000), 'm'));
        break;
      case 1: {  // with a prefix, which may make up a sender
        const uint32_t bytes = input_->Byte();
        if (bytes >= 240) {
          // Or one that may have expired.
          const Prefix prefix = {.expires_ns = static_cast<int64_t>(input_->Number()),
                                 .headers = {{"name", "value"}}};
          *records += PackedRecord(EncodePrefix(prefix) + "body", /*has_prefix=*/true);
        } else {
          *records += PackedRecord(input_->Bytes(bytes % 24), /*has_prefix=*/true);
        }
        break;
      }
      default: {
        const auto length = static_cast<uint32_t>(input_->Number());
        const auto flags = static_cast<uint32_t>(input_->Below(4));
        records->append(reinterpret_cast<const char*>(&length), sizeof(length));
        records->append(reinterpret_cast<const char*>(&flags), sizeof(flags));
        const absl::string_view bytes = input_->Bytes(input_->Below(16));
        records->append(bytes.data(), bytes.size());
      }
    }
  }
}

void HostileFrames::FillRequest(proto::Request* request) {
  request->set_id(input_->Number());
  const uint32_t kind = input_->Byte();
  if (kind >= 252) {
    const auto place = [this](proto::Place* after) {
      after->set_priority(input_->Below(34));
      after->set_stamp(input_->Number());
      after->set_lane(input_->Number());
      after->set_sequence(input_->Number());
    };
    if (kind % 2 == 0) {
      request->mutable_browse()->set_mailbox(AnyMailbox());
      request->mutable_browse()->set_mailbox_id(input_->Number());
      request->mutable_browse()->set_limit(static_cast<uint32_t>(input_->Number()));
      request->mutable_browse()->set_max_body_bytes(static_cast<uint32_t>(input_->Number()));
      if (input_->Bool()) place(request->mutable_browse()->mutable_after());
    } else {
      request->mutable_redrive()->set_mailbox(AnyMailbox());
      request->mutable_redrive()->set_mailbox_id(input_->Number());
      request->mutable_redrive()->set_limit(static_cast<uint32_t>(input_->Number()));
      request->mutable_redrive()->set_token(input_->Number());
      if (input_->Bool()) request->mutable_redrive()->set_to(AnyMailbox());
      if (input_->Bool()) place(request->mutable_redrive()->mutable_after());
    }
    return;
  }
  switch (kind % 7) {
    case 0:
      request->set_resolve_process(input_->Bool() ? witness_.ToString() : AnyMailbox());
      break;
    case 1:
      if (request->id() % 2 == 0) {
        request->set_stat_mailbox(AnyMailbox());
      } else {
        request->set_find_mailbox(AnyMailbox());
      }
      break;
    case 2: {
      const uint64_t key = AnyKey();
      proto::AwaitEnd* const await =
          key % 2 == 0 ? request->mutable_await_end() : request->mutable_forget_end();
      await->set_mailbox(AnyMailbox());
      await->set_mailbox_id(key);
      if (input_->Bool()) FillProcess(await->mutable_process());
      break;
    }
    case 3:
      request->mutable_open_receiver()->set_mailbox(AnyMailbox());
      request->mutable_open_receiver()->set_receiver_key(AnyKey());
      FillProcess(request->mutable_open_receiver()->mutable_receiver());
      break;
    case 4:
      request->mutable_ping();
      break;
    case 5:
      request->set_find_name(AnyMailbox());
      break;
    default:
      request->mutable_destroy_mailbox()->set_mailbox(AnyMailbox());
      request->mutable_destroy_mailbox()->set_mailbox_id(input_->Number());
  }
}

void HostileFrames::FillReply(proto::Reply* reply) {
  reply->set_id(input_->Byte() < 0xe0 ? last_request_ : input_->Number());
  if (input_->Byte() >= 0xc0) reply->mutable_status()->set_code(AnyCode());
  if (input_->Bool()) FillProcess(reply->mutable_process());
  if (input_->Bool()) {
    reply->mutable_spec()->set_max_message_bytes(input_->Bool() ? 2000 : input_->Number());
    reply->mutable_spec()->set_capacity_messages(
        input_->Bool() ? 16 : static_cast<uint32_t>(input_->Number()));
    reply->mutable_spec()->set_fixed_size(input_->Byte() >= 0xe0);
  }
  const uint32_t which = input_->Byte();
  reply->set_mailbox_id(which % 4);
  if (which >= 0xf0) {
    proto::BrowsedMessage* const message = reply->mutable_browsed()->add_messages();
    FillProcess(message->mutable_sender());
    message->set_body(std::string(input_->Bool() ? 70000 : input_->Below(100), 'b'));
    message->set_state(static_cast<proto::BrowsedMessage::State>(input_->Below(5)));
    message->set_left_ms(input_->Number());
    reply->mutable_redriven()->set_moved(input_->Number());
    reply->mutable_redriven()->set_left(input_->Number());
    reply->mutable_redriven()->mutable_why()->set_code(AnyCode());
  }
  reply->set_end_reason(static_cast<uint32_t>(2 * reply->mailbox_id()));
}

void HostileFrames::FillReceiving(proto::Frame* frame) {
  switch (input_->Below(5)) {
    case 0:
      frame->mutable_want()->set_receiver_key(AnyKey());
      frame->mutable_want()->set_count(input_->Below(3));
      if (frame->want().count() == 2) frame->mutable_want()->add_held(last_lease_.delivery());
      break;
    case 1: {
      proto::Delivery* const delivery = frame->mutable_delivery();
      delivery->set_receiver_key(AnyKey());
      FillLease(delivery->mutable_lease());
      if (input_->Bool()) FillProcess(delivery->mutable_sender());
      delivery->set_body(std::string(input_->Below(3000), 'd'));
      delivery->set_again(input_->Bool());
      delivery->set_held(delivery->again() && delivery->body().size() % 2 == 1);
      break;
    }
    case 2: {
      frame->mutable_outcome()->set_receiver_key(AnyKey());
      FillLease(frame->mutable_outcome()->mutable_lease());
      const uint32_t taken = input_->Byte(), refused = input_->Byte();
      frame->mutable_outcome()->set_taken((taken & 1) != 0);
      frame->mutable_outcome()->set_refused((refused & 1) != 0);
      frame->mutable_outcome()->set_returned((taken & 2) != 0);
      if ((refused & 2) != 0)
        frame->mutable_outcome()->set_delay_ms(uint64_t{refused} << (taken >> 2));
      break;
    }
    case 3:
      frame->mutable_receiver_check()->set_receiver_key(AnyKey());
      break;
    default:
      frame->mutable_receiver_gone()->set_receiver_key(AnyKey());
      frame->mutable_receiver_gone()->set_mailbox_destroyed(input_->Bool());
  }
}

}  // namespace mailrail
