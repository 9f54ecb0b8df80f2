#ifndef MAILRAIL_TESTS_SUPPORT_PARTY_H_
#define MAILRAIL_TESTS_SUPPORT_PARTY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "mailrail/mailbox.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"
#include "mailrail/sender.h"
#include "tests/support/eventually.h"
#include "tests/support/party.pb.h"

namespace mailrail {

// A sender or a receiver of a Party.
using Handle = uint32_t;

// A message to send: its body is MakeBody(number, bytes).
struct Outgoing {
  uint64_t number = 0;
  size_t bytes = 8;
  int priority = 0;
  std::vector<Header> headers = {};
  std::string reply_to = {};
  absl::Duration time_to_live = absl::InfiniteDuration();
  absl::Duration delay = absl::ZeroDuration();
  std::string key = {};
  uint64_t receipt = 0;
};

// What a received message was. `intact`: its body is MakeBody(number, bytes).
struct Received {
  ProcessId sender;
  int priority = 0;
  uint64_t sequence = 0;
  int attempts = 0;
  uint64_t number = 0;
  size_t bytes = 0;
  bool intact = false;
  EndReason end = EndReason::kNone;
  DeadLetterReason dead_letter_reason = DeadLetterReason::kNone;
  std::string dead_letter_mailbox;
  std::vector<Header> headers;
  std::string reply_to;
  std::string key;
};

struct SendOrder {
  party::Way way = party::SEND;
  // The page of the ledger on which the count of messages sent is kept; 0: none.
  uint32_t ledger = 0;
};

struct ReceiveOrder {
  // By ReceiveBatch of so many; 0: by single receives.
  size_t batch = 0;
  // By ReceiveFrom this process, when it has a pid.
  ProcessId from = {};
  // The page of the ledger that lists the received messages' numbers; 0: none.
  uint32_t ledger = 0;
};

struct SendResult {
  size_t sent = 0;
  absl::Status status;  // of the first that was not sent
};

struct ReceiveResult {
  std::vector<Received> messages;
  absl::Status status;  // of the first call that returned none
};

// What a call of a mutex or the like came to.
struct LockResult {
  absl::Status status;
  uint64_t fence = 0;
  bool owner_died = false;
  uint32_t value = 0;
};

// What a call of an end of a pipe came to.
struct PipeResult {
  absl::Status status;
  std::string bytes = {};
  size_t written = 0;
};

// What a call of a named region or value came to.
struct RegionResult {
  absl::Status status;
  uint64_t version = 0;
  std::string bytes = {};
  uint64_t size = 0;  // of a region; of a value that is read its number
  bool intact = false;
  bool replica = false;
};

// A process attached to an agent, which does what a test tells it: this one (LocalParty), or a
// child of the test (WorkerParty). So a test is written once for every place where the other side
// may be. Calls and their errors are those of Process, Sender and Receiver; a call to a worker that
// has ended returns kCancelled, which nothing else returns.
//
// Thread-safe, but one call at a time on one handle.
class Party {
 public:
  // The receiver that is there from the start.
  static constexpr Handle kInbox = 0;

  virtual ~Party() = default;

  const ProcessId& id() const { return id_; }

  absl::Status RegisterName(absl::string_view name);
  absl::StatusOr<ProcessId> Resolve(absl::string_view name, absl::Time deadline = Patience());
  absl::StatusOr<Handle> Connect(const ProcessId& process, absl::Time deadline = Patience());
  absl::StatusOr<Handle> Connect(absl::string_view name, absl::Time deadline = Patience());
  // With ConnectOptions::one_way.
  absl::StatusOr<Handle> ConnectOneWay(const ProcessId& process, absl::Time deadline = Patience());
  absl::StatusOr<Handle> ConnectOneWay(absl::string_view name, absl::Time deadline = Patience());
  absl::StatusOr<Handle> ConnectMailbox(absl::string_view name, absl::Time deadline = Patience());
  absl::Status CreateMailbox(absl::string_view name, const MailboxOptions& options = {},
                             absl::Time deadline = Patience());
  absl::StatusOr<Handle> OpenMailbox(absl::string_view name, absl::Time deadline = Patience());
  // To acknowledge by hand: what is received stays leased until it is settled.
  absl::StatusOr<Handle> OpenLeasing(absl::string_view name, absl::Time deadline = Patience());
  absl::Status DestroyMailbox(absl::string_view name, absl::Time deadline = Patience());
  absl::StatusOr<uint64_t> PurgeMailbox(absl::string_view name, absl::Time deadline = Patience());
  absl::Status Watch(const ProcessId& process, absl::Time deadline = Patience());

  // Sends `messages` one after the other, until one is not sent; each has until `deadline`.
  SendResult Send(Handle sender, const std::vector<Outgoing>& messages,
                  absl::Time deadline = Patience(), const SendOrder& order = {});

  // Receives until there are `count`, or an error.
  ReceiveResult Receive(Handle receiver, size_t count, absl::Time deadline = Patience(),
                        const ReceiveOrder& order = {});

  // Of the leased message with this number, received last.
  absl::Status Acknowledge(uint64_t number);
  absl::Status GiveBack(uint64_t number, absl::Duration delay = absl::ZeroDuration());
  absl::Status Extend(uint64_t number, absl::Duration time);
  // Destroys the Message.
  void Destroy(uint64_t number);

  // Receives `count` messages, and sends each on, as it is, before it receives the next.
  absl::Status Echo(Handle receiver, Handle sender, size_t count, absl::Time deadline = Patience());

  // Sends a request, and returns its answer.
  absl::StatusOr<Received> Call(Handle sender, const Outgoing& request,
                                absl::Time deadline = Patience());

  // As Sender::NextReceipt.
  absl::StatusOr<Receipt> NextReceipt(Handle sender, absl::Time deadline = Patience());

  // Receives `count` requests, and answers each by its own body before it receives the next.
  absl::Status Answer(Handle receiver, size_t count, absl::Time deadline = Patience());

  // A call of a message queue (queues.h). ECANCELED when the worker has ended.
  party::QueueResult CallQueue(const party::QueueCall& call, absl::Time deadline = Patience());

  // A call of a mutex or the like (locks.h). kCancelled when the worker has ended.
  LockResult CallLock(const party::LockCall& call, absl::Time deadline = Patience());

  // A call of an end of a pipe (pipes.h). kCancelled when the worker has ended.
  PipeResult CallPipe(const party::PipeCall& call, absl::Time deadline = Patience());

  // A call of a named region or value (regions.h). kCancelled when the worker has ended.
  RegionResult CallRegion(const party::RegionCall& call, absl::Time deadline = Patience());

  // Destroys a sender or receiver.
  void Close(Handle handle);

  // How many of its calls sleep at this moment.
  size_t Asleep();

  // Makes an end of it: a worker is killed, whatever it does; a party of this process detaches,
  // and must have no call running.
  virtual void End() = 0;

  // Has a worker exit, whatever it does; a party of this process detaches.
  virtual void Exit() { End(); }

 protected:
  void set_id(const ProcessId& id) { id_ = id; }

 private:
  virtual party::Result Do(party::Command command) = 0;
  party::Result Do(party::Command command, absl::Time deadline);
  absl::StatusOr<Handle> DoForHandle(party::Command command, absl::Time deadline);
  absl::Status Settle(uint64_t number, party::Settle::How how,
                      absl::Duration time = absl::ZeroDuration());

  ProcessId id_;
};

// The same values as protobuf has them.
mailrail::proto::ProcessRef ToProto(const ProcessId& id);
ProcessId FromProto(const mailrail::proto::ProcessRef& ref);
mailrail::proto::StatusInfo ToProto(const absl::Status& status);
absl::Status FromProto(const mailrail::proto::StatusInfo& info);
int64_t ToProto(absl::Time deadline);
std::vector<Header> HeadersOf(const google::protobuf::RepeatedPtrField<party::Header>& headers);
absl::Time DeadlineOf(const party::Command& command);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_PARTY_H_
