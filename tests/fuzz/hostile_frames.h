#ifndef MAILRAIL_TESTS_FUZZ_HOSTILE_FRAMES_H_
#define MAILRAIL_TESTS_FUZZ_HOSTILE_FRAMES_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "mailrail/process_id.h"
#include "proto/peer.pb.h"
#include "tests/fuzz/input.h"

namespace mailrail {

// The first message of a node that keeps to the protocol.
proto::Hello HelloOf(const std::string& node, proto::SessionClass session_class);

// A record, as Data frames have them.
std::string PackedRecord(absl::string_view body, bool has_prefix = false);

// What a hostile peer says: frames of every kind, with numbers that the input chooses, or that the
// agent itself has used. Thread-compatible. `input` outlives it.
class HostileFrames {
 public:
  // `witness`: a process of the agent's node; `sound_lane`: a lane of another, sound peer.
  HostileFrames(Input* input, std::string node, ProcessId witness, uint64_t sound_lane)
      : input_(input),
        node_(std::move(node)),
        witness_(std::move(witness)),
        sound_lane_(sound_lane) {}

  // What the agent has said to the peer.
  void Note(const proto::Frame& frame);

  proto::Envelope AnyHello();
  proto::Frame AnyFrame();

 private:
  uint64_t AnyLane();
  int AnyCode() { return static_cast<int>(input_->Below(20)); }
  uint64_t AnyKey() { return input_->Bool() ? last_key_ : input_->Below(5); }
  std::string AnyMailbox() { return input_->Byte() < 0xc0 ? "q" : std::string(input_->Bytes(3)); }
  void FillProcess(proto::ProcessRef* process);
  void FillLease(proto::LeaseName* lease);
  void FillAccepted(proto::Accepted* accepted);
  void FillData(proto::Data* data);
  void FillRequest(proto::Request* request);
  void FillReply(proto::Reply* reply);
  // Of mailboxes and their receivers on other nodes, either way.
  void FillReceiving(proto::Frame* frame);

  Input* const input_;
  const std::string node_;
  const ProcessId witness_;
  const uint64_t sound_lane_;
  uint64_t last_lane_ = 0;
  uint64_t last_request_ = 0;
  uint64_t last_key_ = 0;
  proto::LeaseName last_lease_;
  proto::Data last_data_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_FUZZ_HOSTILE_FRAMES_H_
