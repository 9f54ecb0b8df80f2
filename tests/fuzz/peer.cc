// An agent whose peer says what the input says: in handshakes, in frames of every kind, on streams
// of every kind, while a program of this node uses destinations there. Sessions, carrier, broker
// and services are the real ones. A sound peer beside it sends to a program here all the time.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "core/process/grants.h"
#include "node/carrier/record_codec.h"
#include "tests/fuzz/fuzz_hub.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/lane_memory.h"
#include "tests/fuzz/one_node.h"

namespace mailrail {
namespace {

using internal::ToProto;

// No input names it.
constexpr char kSoundNode[] = "the-sound-node";
constexpr char kHostileNode[] = "mallory";
constexpr uint64_t kSoundLane = 77;

// The agent's carrier has a thread of its own: it may take so long to answer, on a machine that
// does other things too.
constexpr absl::Duration kPatience = absl::Seconds(20);

PeerTransportOptions NodeOptions() {
  PeerTransportOptions options;
  options.cluster_id = "fuzz";
  options.node = "alpha";
  options.node_incarnation = 1;
  return options;
}

proto::Hello HelloOf(const std::string& node, proto::SessionClass session_class) {
  proto::Hello hello;
  hello.set_cluster_id("fuzz");
  hello.set_node(node);
  hello.set_node_incarnation(1);
  hello.set_protocol_version(kProtocolVersion);
  hello.set_session_class(session_class);
  return hello;
}

std::string Packed(absl::string_view body, bool has_prefix = false) {
  Record record;
  record.data = body.data();
  record.length = static_cast<uint32_t>(body.size());
  record.has_prefix = has_prefix;
  std::string packed;
  PackRecord(record, &packed);
  return packed;
}

class PeerTarget {
 public:
  explicit PeerTarget(Input* input)
      : input_(input), node_(/*carries=*/true), hub_(NodeOptions(), &node_.carrier()) {
    // Before there are peers, who would be asked whether they have one of that name.
    control::Request create;
    create.mutable_create_mailbox()->set_name("q");
    create.mutable_create_mailbox()->mutable_spec()->set_max_message_bytes(2000);
    create.mutable_create_mailbox()->mutable_spec()->set_capacity_messages(16);
    Promise(witness_.Call(create).status().code() == 0, "a mailbox is created");
    for (const auto session_class : {proto::BULK, proto::URGENT}) {
      for (const bool dialed : {true, false}) {
        sound_[session_class][dialed] = hub_.OpenSound(dialed, HelloOf(kSoundNode, session_class));
      }
    }
    OpenSoundLane();
  }

  void Run() {
    const size_t others = OpenDescriptors() - node_.DescriptorsKnown();
    const bool opened = input_->Bool();
    for (int kind = 0; opened && kind < 4; ++kind) OpenHostile(kind);
    while (!input_->empty()) Step();
    FinishSoundLane();
    far_lanes_.clear();
    for (const FuzzHub::Stream& stream : hostile_) stream->Hang();
    for (const FuzzHub::Stream& stream : hostile_) End(stream);
    witness_.ReadNotices();
    node_.Settle();
    Promise(OpenDescriptors() - node_.DescriptorsKnown() == others,
            "the agent has the descriptors that it knows of, and no others");
    for (const auto& streams : sound_) {
      for (const FuzzHub::Stream& stream : streams) End(stream);
    }
  }

 private:
  // --- The sound peer.

  void SaySound(proto::Frame frame) {
    proto::Envelope message;
    *message.mutable_batch()->add_frames() = std::move(frame);
    Await([&] { return sound_[proto::BULK][false]->Receive(message); });
  }

  void OpenSoundLane() {
    proto::Frame frame;
    frame.mutable_lane_open()->set_lane(kSoundLane);
    ToProto(sound_sender_, frame.mutable_lane_open()->mutable_sender());
    ToProto(witness_.id(), frame.mutable_lane_open()->mutable_process());
    SaySound(frame);
    Await([&] { return !sound_states_.empty(); });
    Promise(sound_states_.back().status().code() == 0, "a sound peer's lane is opened");
  }

  void SendSound() {
    const std::string body = SoundBody(0, sent_.size(), input_->Below(1000));
    proto::Frame frame;
    frame.mutable_data()->set_lane(kSoundLane);
    frame.mutable_data()->set_first_sequence(sent_.size() + 1);
    frame.mutable_data()->set_records(Packed(body));
    SaySound(frame);
    sent_.push_back(body);
  }

  // All that it has sent comes, in order, to the program that it was sent to.
  void FinishSoundLane() {
    SendSound();
    proto::Frame frame;
    frame.mutable_lane_end()->set_lane(kSoundLane);
    SaySound(frame);
    Await([&] { return sound_states_.back().status().code() != 0; });
    Promise(sound_states_.back().status().code() == static_cast<int>(absl::StatusCode::kNotFound),
            "a sound peer's lane ends as it says");
    Message message;
    while (witness_.Take(&sound_sender_, &message)) Check(message);
    Promise(received_ == sent_.size(), "all that a sound peer has sent has come");
  }

  void Check(const Message& message) {
    if (message.sender() != sound_sender_ || message.end() != EndReason::kNone) return;
    Promise(received_ < sent_.size() && message.body() == sent_[received_],
            "what a sound peer sends comes whole, in order");
    ++received_;
  }

  // Goes on until it is so.
  template <typename Condition>
  void Await(const Condition& condition) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (true) {
      node_.loop().RunOnce();
      for (const auto& streams : sound_) {
        for (const FuzzHub::Stream& stream : streams) ListenToSound(stream);
      }
      if (condition()) return;
      Promise(absl::Now() < deadline, "the agent answers a sound peer");
      std::this_thread::yield();
    }
  }
  void ListenToSound(const FuzzHub::Stream& stream) {
    for (proto::Envelope& message : stream->Pump()) {
      for (proto::Frame& frame : *message.mutable_batch()->mutable_frames()) {
        if (frame.has_lane_state() && frame.lane_state().lane() == kSoundLane) {
          sound_states_.push_back(std::move(*frame.mutable_lane_state()));
        }
      }
    }
    Promise(!stream->done(), "the sessions of a sound peer stay open");
  }

  void End(const FuzzHub::Stream& stream) {
    stream->Close(absl::UnavailableError("the end"));
    // The carrier's thread may be about to read on, or to write.
    while (!stream->done()) {
      stream->Pump();
      std::this_thread::yield();
    }
  }

  // --- The other peer.

  void Step() {
    switch (input_->Below(14)) {
      case 0:
        return SendSound();
      case 1:
        return OpenHostile(static_cast<int>(input_->Below(5)));
      case 2:
        return Say(AnyHello());
      case 3: {
        proto::Envelope message;
        if (message.ParseFromString(std::string(input_->Bytes(input_->Below(64))))) Say(message);
        return;
      }
      case 4:
        if (!hostile_.empty()) AnyStream()->Hang();
        return;
      case 5:
        return Ask();
      case 6:
        return UseFarLane();
      case 7: {
        Message message;
        if (witness_.Take(nullptr, &message)) Check(message);
        return;
      }
      default:
        return SayFrames();
    }
  }

  const FuzzHub::Stream& AnyStream() { return hostile_[input_->Below(hostile_.size())]; }

  // Kinds 0 to 3 are open at once; 4 waits for a handshake.
  void OpenHostile(int kind) {
    if (hostile_.size() >= 12) return;
    const auto session_class = (kind & 1) != 0 ? proto::URGENT : proto::BULK;
    if (kind == 4) {
      hostile_.push_back(input_->Bool() ? hub_.Accept() : hub_.Dial(kHostileNode, session_class));
    } else {
      hostile_.push_back(hub_.OpenSound((kind & 2) != 0, HelloOf(kHostileNode, session_class)));
    }
    Listen();
  }

  void Say(proto::Envelope message) {
    if (hostile_.empty()) return;
    AnyStream()->Receive(std::move(message));
    Listen();
  }

  // What the agent says to it gives it the numbers that it uses.
  void Listen() {
    for (int i = 0; i < 2; ++i) {
      node_.loop().RunOnce();
      for (const FuzzHub::Stream& stream : hostile_) {
        for (const proto::Envelope& message : stream->Pump()) {
          for (const proto::Frame& frame : message.batch().frames()) Note(frame);
        }
      }
    }
  }
  void Note(const proto::Frame& frame) {
    if (frame.has_lane_open()) last_lane_ = frame.lane_open().lane();
    if (frame.has_request()) last_request_ = frame.request().id();
    if (frame.has_want()) last_key_ = frame.want().receiver_key();
    if (frame.has_request() && frame.request().has_open_receiver()) {
      last_key_ = frame.request().open_receiver().receiver_key();
    }
    if (frame.has_delivery()) last_lease_ = frame.delivery().lease();
    if (frame.has_data()) last_data_ = frame.data();
  }

  proto::Envelope AnyHello() {
    proto::Envelope message;
    if (input_->Byte() >= 0xe0) {
      message.mutable_refusal()->mutable_status()->set_code(static_cast<int>(input_->Number()));
      message.mutable_refusal()->mutable_status()->set_message(
          std::string(input_->Bytes(input_->Below(16))));
      return message;
    }
    const std::string nodes[] = {kHostileNode, "",         "alpha",
                                 "beta",       "no name!", std::string(100, 'n')};
    proto::Hello* const hello = message.mutable_hello();
    *hello = HelloOf(nodes[input_->Byte() >= 0xc0 ? input_->Below(6) : 0],
                     static_cast<proto::SessionClass>(input_->Below(input_->Bool() ? 3 : 2)));
    hello->set_node_incarnation(input_->Below(4));
    if (input_->Byte() >= 0xf0) hello->set_cluster_id("another");
    if (input_->Byte() >= 0xf0) hello->set_protocol_version(input_->Below(4));
    hello->set_advertised_address(std::string(input_->Bytes(input_->Below(8))));
    return message;
  }

  void SayFrames() {
    proto::Envelope message;
    for (uint32_t frames = 1 + input_->Below(4); frames > 0; --frames) {
      *message.mutable_batch()->add_frames() = AnyFrame();
    }
    Say(std::move(message));
  }

  uint64_t AnyLane() {
    const uint32_t which = input_->Below(8);
    return which == 7 ? last_lane_ : which == 6 ? kSoundLane : which;
  }
  int AnyCode() { return static_cast<int>(input_->Below(20)); }
  uint64_t AnyKey() { return input_->Bool() ? last_key_ : input_->Below(5); }
  std::string AnyMailbox() { return input_->Byte() < 0xc0 ? "q" : std::string(input_->Bytes(3)); }

  void FillProcess(proto::ProcessRef* process) {
    switch (input_->Below(4)) {
      case 0:
        return ToProto(witness_.id(), process);
      case 1:
        process->set_node(std::string(input_->Bytes(input_->Below(8))));
        break;
      default:
        process->set_node(kHostileNode);
    }
    process->set_pid(static_cast<int32_t>(input_->Number()));
    process->set_incarnation(input_->Number());
  }
  void FillLease(proto::LeaseName* lease) {
    if (input_->Bool()) *lease = last_lease_;
    if (input_->Bool()) return;
    lease->set_lane(input_->Number());
    lease->set_priority(input_->Below(34));
    lease->set_sequence(input_->Number());
    lease->set_attempts(static_cast<uint32_t>(input_->Number()));
    lease->set_delivery(input_->Number());
  }
  void FillAccepted(proto::Accepted* accepted) {
    accepted->set_priority(input_->Below(34));
    accepted->set_sequence(input_->Number());
  }

  proto::Frame AnyFrame() {
    proto::Frame frame;
    switch (input_->Below(12)) {
      case 0: {
        proto::LaneOpen* const open = frame.mutable_lane_open();
        open->set_lane(AnyLane());
        FillProcess(open->mutable_sender());
        if (input_->Bool()) {
          FillProcess(open->mutable_process());
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

  void FillData(proto::Data* data) {
    data->set_lane(AnyLane());
    data->set_priority(input_->Bool() ? 0 : input_->Below(34));
    data->set_first_sequence(input_->Number());
    std::string* const records = data->mutable_records();
    for (uint32_t count = input_->Below(5); count > 0; --count) {
      switch (input_->Below(4)) {
        case 0:  // well-formed, of any size
          *records += Packed(std::string(input_->Below(3000), 'm'));
          break;
        case 1: {  // with a prefix, which may make up a sender
          const absl::string_view prefix = input_->Bytes(input_->Below(24));
          *records += Packed(prefix, /*has_prefix=*/true);
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

  void FillRequest(proto::Request* request) {
    request->set_id(input_->Number());
    switch (input_->Below(7)) {
      case 0:
        request->set_resolve_process(input_->Bool() ? witness_.id().ToString() : AnyMailbox());
        break;
      case 1:
        request->set_find_mailbox(AnyMailbox());
        break;
      case 2:
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

  void FillReply(proto::Reply* reply) {
    reply->set_id(input_->Byte() < 0xe0 ? last_request_ : input_->Number());
    if (input_->Byte() >= 0xc0) reply->mutable_status()->set_code(AnyCode());
    if (input_->Bool()) FillProcess(reply->mutable_process());
    if (input_->Bool()) {
      reply->mutable_spec()->set_max_message_bytes(input_->Bool() ? 2000 : input_->Number());
      reply->mutable_spec()->set_capacity_messages(
          input_->Bool() ? 16 : static_cast<uint32_t>(input_->Number()));
      reply->mutable_spec()->set_fixed_size(input_->Byte() >= 0xe0);
    }
    reply->set_mailbox_id(input_->Below(4));
  }

  // Of mailboxes and their receivers on other nodes, either way.
  void FillReceiving(proto::Frame* frame) {
    switch (input_->Below(5)) {
      case 0:
        frame->mutable_want()->set_receiver_key(AnyKey());
        frame->mutable_want()->set_count(input_->Below(3));
        break;
      case 1: {
        proto::Delivery* const delivery = frame->mutable_delivery();
        delivery->set_receiver_key(AnyKey());
        FillLease(delivery->mutable_lease());
        if (input_->Bool()) FillProcess(delivery->mutable_sender());
        delivery->set_body(std::string(input_->Below(3000), 'd'));
        delivery->set_again(input_->Bool());
        break;
      }
      case 2:
        frame->mutable_outcome()->set_receiver_key(AnyKey());
        FillLease(frame->mutable_outcome()->mutable_lease());
        frame->mutable_outcome()->set_taken(input_->Bool());
        frame->mutable_outcome()->set_refused(input_->Bool());
        break;
      case 3:
        frame->mutable_receiver_check()->set_receiver_key(AnyKey());
        break;
      default:
        frame->mutable_receiver_gone()->set_receiver_key(AnyKey());
        frame->mutable_receiver_gone()->set_mailbox_destroyed(input_->Bool());
    }
  }

  // --- A program of this node that uses what is there.

  void Ask() {
    control::Request request;
    request.set_id(++last_asked_);
    switch (input_->Below(6)) {
      case 0:
        request.set_connect_process("1.1@mallory");
        break;
      case 1:
        request.set_connect_mailbox("m@mallory");
        break;
      case 2:
        request.set_open_mailbox("m@mallory");
        break;
      case 3:
        request.mutable_post()->set_destination(input_->Bool() ? "1.1@mallory" : "m@mallory");
        request.mutable_post()->set_priority(input_->Below(32));
        request.mutable_post()->set_body(std::string(input_->Below(2000), 'p'));
        break;
      case 4:  // something for those who receive from here
        request.mutable_post()->set_destination("q");
        request.mutable_post()->set_priority(input_->Below(32));
        request.mutable_post()->set_body(std::string(input_->Below(2100), 'p'));
        break;
      default:
        request.set_resolve("name@mallory");
    }
    Promise(SendPacket(program_.get(), request.SerializeAsString()).ok(), "a program asks");
    Listen();
    ReadAnswers();
  }

  void ReadAnswers() {
    while (true) {
      absl::StatusOr<Packet> packet = ReceivePacket(program_.get(), /*wait=*/false);
      if (!packet.ok()) return;
      control::ToProcess message;
      Promise(message.ParseFromString(packet->bytes), "the agent says what can be read");
      const control::LinkGrant& grant =
          message.has_notice() ? message.notice().link_joined() : message.response().link();
      if (packet->fds.size() == 5 && grant.has_geometry() && far_lanes_.size() < 4) {
        absl::StatusOr<internal::MappedLink> link = internal::MapLink(grant, packet->fds);
        if (link.ok()) far_lanes_.push_back(*std::move(link));
      }
      if (message.response().has_opened() && packet->fds.size() >= 3) WantFrom(packet->fds[1]);
      if (!message.has_notice()) continue;
      control::Request seen;
      seen.set_notices_seen(message.notice().number());
      SendPacket(program_.get(), seen.SerializeAsString()).IgnoreError();
    }
  }

  // Its receiver waits for a message from there, from now on.
  void WantFrom(const Fd& bell) {
    absl::StatusOr<Mapping> map = Mapping::Map(bell, sizeof(BellWords), Access::kReadWrite);
    if (map.ok()) reinterpret_cast<BellWords*>(map->data())->wanted.store(1);
    node_.carrier().Poke();
  }

  // Sends on a lane to there, or writes what it likes into its own memory.
  void UseFarLane() {
    ReadAnswers();
    if (far_lanes_.empty()) return Listen();
    const internal::MappedLink& link = far_lanes_[input_->Below(far_lanes_.size())];
    if (input_->Byte() < 0xa0) {
      const std::string body(input_->Below(5000), 'f');
      link.lane->Send(AnyPriority(input_), {{}, body}, absl::InfinitePast()).IgnoreError();
    } else {
      const RingGeometry& geometry = link.memory->geometry;
      char* const ring = link.memory->own.data() + geometry.ring_offset(AnyPriority(input_));
      ChangeWord(input_, ring + size_t{8} * input_->Below(64));
    }
    Listen();
  }

  Input* const input_;
  OneNode node_;
  FuzzHub hub_;
  Witness witness_{&node_};
  const ProcessId sound_sender_{kSoundNode, 1, 1};
  FuzzHub::Stream sound_[2][2];  // by class, and whether dialed
  std::vector<proto::LaneState> sound_states_;
  std::vector<std::string> sent_;
  size_t received_ = 0;

  std::vector<FuzzHub::Stream> hostile_;
  uint64_t last_lane_ = 0, last_request_ = 0, last_key_ = 0;
  proto::LeaseName last_lease_;
  proto::Data last_data_;

  const Fd program_ = Attached(&node_);
  uint64_t last_asked_ = 1;
  std::vector<internal::MappedLink> far_lanes_;

  // A program that has attached, and is spoken for by hand.
  static Fd Attached(OneNode* node) {
    Fd socket = node->Connect();
    control::Request request;
    request.set_id(1);
    request.mutable_attach()->set_protocol_version(1);
    request.mutable_attach()->set_layout_version(kLayoutVersion);
    Promise(SendPacket(socket.get(), request.SerializeAsString()).ok(), "a program attaches");
    node->Settle();
    Promise(ReceivePacket(socket.get(), /*wait=*/false).ok(), "a program is attached");
    return socket;
  }
};

}  // namespace
}  // namespace mailrail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mailrail::NoDescriptorIsLeft none;
  mailrail::Input input(data, size);
  mailrail::PeerTarget(&input).Run();
  return 0;
}
