// An agent whose peer says what the input says: in handshakes, in frames of every kind, on streams
// of every kind, while a program of this node uses destinations there. Sessions, carrier, broker
// and services are the real ones. A sound peer beside it sends to a program here all the time.
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "core/process/grants.h"
#include "tests/fuzz/fuzz_hub.h"
#include "tests/fuzz/hostile_frames.h"
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
    frame.mutable_data()->set_records(PackedRecord(body));
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
        return Say(frames_.AnyHello());
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

  void Say(const proto::Envelope& message) {
    if (hostile_.empty()) return;
    // As it comes off the wire, where strings that are not UTF-8 end the stream.
    proto::Envelope read;
    if (!read.ParseFromString(message.SerializeAsString())) return;
    AnyStream()->Receive(std::move(read));
    Listen();
  }

  // What the agent says to it gives it the numbers that it uses.
  void Listen() {
    for (int i = 0; i < 2; ++i) {
      node_.loop().RunOnce();
      for (const FuzzHub::Stream& stream : hostile_) {
        for (const proto::Envelope& message : stream->Pump()) {
          for (const proto::Frame& frame : message.batch().frames()) frames_.Note(frame);
        }
      }
    }
  }
  void SayFrames() {
    proto::Envelope message;
    for (uint32_t frames = 1 + input_->Below(4); frames > 0; --frames) {
      *message.mutable_batch()->add_frames() = frames_.AnyFrame();
    }
    Say(message);
  }

  // --- A program of this node that uses what is there.

  void Ask() {
    control::Request request;
    request.set_id(++last_asked_);
    const uint32_t call = input_->Byte();
    switch (call >= 252 ? call : call % 6) {
      case 252:
      case 253:
        request.mutable_browse()->set_mailbox("m@mallory");
        break;
      case 254:
      case 255:
        request.mutable_redrive()->set_mailbox("m@mallory");
        break;
      case 0:
        request.set_connect_process("1.1@mallory");
        break;
      case 1:
        request.set_connect_mailbox("m@mallory");
        break;
      case 2:
        request.mutable_open_mailbox()->set_name("m@mallory");
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
  HostileFrames frames_{input_, kHostileNode, witness_.id(), kSoundLane};

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
