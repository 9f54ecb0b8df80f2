#ifndef MAILRAIL_CORE_PROCESS_PROCESS_IMPL_H_
#define MAILRAIL_CORE_PROCESS_PROCESS_IMPL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/fork.h"
#include "core/mailbox/attachment.h"
#include "core/mailbox/inbox_queue.h"
#include "core/mailbox/mailbox_queue.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/process/agent_connection.h"
#include "core/process/object_table.h"
#include "core/shm/budget.h"
#include "mailrail/process.h"

namespace mailrail::internal {

class Calls;
class Receipts;
class Watcher;

// What a receiver maps of its own inbox or mailbox.
struct ReceiverMemory {
  Mapping control;       // ControlPage, read-only
  Mapping bell;          // BellWords, read-write
  Mapping gate;          // GateWord, read-write
  Mapping carrier_gate;  // a mailbox of another node: rung when `wanted` changes
};

// Behind Process: the connection to the agent, and the lanes that it granted. Thread-safe.
class ProcessImpl : public AgentConnection::NoticeHandler,
                    public Attachment,
                    public std::enable_shared_from_this<ProcessImpl> {
 public:
  static absl::StatusOr<std::shared_ptr<ProcessImpl>> Attach(const AttachOptions& options);
  ~ProcessImpl() override;

  const ProcessId& id() const { return id_; }
  uint32_t number() const { return number_; }
  Receiver& inbox() { return *inbox_; }
  AgentConnection& connection() { return connection_; }
  const AgentConnection& connection() const { return connection_; }

  // kFailedPrecondition in the child of a fork.
  absl::Status CheckUsable() const {
    return ABSL_PREDICT_TRUE(ForkGeneration() == fork_generation_) ? absl::OkStatus() : Unusable();
  }

  // As Attachment.
  absl::Status Check() const override;
  void AskToLookAt(const OutgoingLane& lane) const override;

  // Asks the agent; errors as Process.
  absl::StatusOr<AgentReply> Call(control::Request request, absl::Time deadline);

  // With AS_IT_IS the lane may be one that is not to be sent on.
  absl::StatusOr<std::shared_ptr<OutgoingLane>> ConnectProcess(const std::string& name,
                                                               control::LinkWish wish,
                                                               absl::Time deadline);
  absl::StatusOr<std::shared_ptr<OutgoingLane>> ConnectMailbox(const std::string& name,
                                                               absl::Time deadline);
  // A handle lets go of its lane.
  void LetGo(std::shared_ptr<OutgoingLane> lane);

  struct OpenedMailbox {
    uint64_t destination_id = 0;
    std::string name;
    std::shared_ptr<MailboxQueue> queue;
    std::shared_ptr<const ReceiverMemory> memory;
  };
  // `leases`: it acknowledges by hand.
  absl::StatusOr<OpenedMailbox> OpenMailbox(const std::string& name, bool leases,
                                            absl::Time deadline);
  void CloseReceiver(uint64_t destination_id, const ReceiveQueue* queue);

  // As Process. `what` is a mailbox or a node, by the name that it was given.
  absl::Status Watch(const ProcessId& process, absl::Time deadline);
  absl::Status Watch(const Ended& what, absl::Time deadline);
  absl::Status Unwatch(const Ended& what);

  // Messages to a mailbox may expire or be delayed from now on: tells the agent, once.
  void LaneExpires(OutgoingLane* lane);

  // Whether this process is linked with `peer` now.
  bool LinkedWith(const ProcessId& peer);

  Calls& calls() { return *calls_; }
  Receipts& receipts() { return *receipts_; }
  ObjectTable& objects() { return objects_; }

  // The thread that serves Receiver::Descriptor, started on first use.
  Watcher* watcher();

  absl::Status OnNotice(const control::Notice& notice, std::vector<Fd> fds) override;

 private:
  struct Link {
    ProcessId peer;
    std::shared_ptr<OutgoingLane> lane;
    std::shared_ptr<LinkMemory> memory;
    // OUTWARD: its incoming lane is mute.
    control::LinkDirection direction = control::BOTH_WAYS;
  };

  struct JoinedLane {
    ProcessId sender;
    bool same_user = false;
    bool by_agent = false;
    std::shared_ptr<const CellMemory> memory;
  };
  // This process as a receiver of one mailbox. Each of its Receivers has a queue of its own over
  // the same lanes.
  struct Membership {
    uint32_t version = 0;
    std::shared_ptr<const ReceiverMemory> memory;
    absl::flat_hash_map<uint64_t, JoinedLane> lanes;
    std::vector<std::shared_ptr<ReceiveQueue>> queues;
  };

  explicit ProcessImpl(Fd socket);
  static absl::Status Unusable();
  absl::Status Introduce(absl::Time deadline);
  // kResourceExhausted, in words, when this program has not what a new lane takes: then the agent
  // is not asked for one, which might not be taken over.
  absl::Status CheckRoomForLane(const std::string& name);
  // Adds this process as a receiver of what the agent has opened.
  absl::StatusOr<OpenedMailbox> AddReceiver(AgentReply reply);
  // Tells the agent of mailboxes that this process receives from no more, and of links (the
  // mailboxes) that it sends to no more, unless one is being opened: it may be the same, and then
  // the last to open looks.
  void CloseUnused();
  // Those of lanes, which are forgotten.
  void TakeUnusedLanes(std::vector<uint64_t>* ids) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BeginOpening();
  void EndOpening();
  // By the name that it is to be known by.
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AskForLane(control::Request request,
                                                           const std::string& name,
                                                           absl::Time deadline);
  // This process's lanes to all subscriptions that a broadcast mailbox has now.
  absl::StatusOr<std::vector<std::shared_ptr<OutgoingLane>>> LanesToSubscriptions(
      uint64_t mailbox, const std::string& name, absl::Time deadline);
  // Forgets names of lanes that are forgotten.
  void DropNamesOfLanes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Forgets lanes to mailboxes that are closed and that no Sender has.
  void DropClosedLanes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OnLinkJoined(const control::LinkGrant& grant, std::vector<Fd> fds, uint32_t version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds what a link brings to the inbox, or lets it be heard that was mute.
  void JoinInbox(const control::LinkGrant& grant, const Link& link, uint32_t version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OnLaneJoined(const control::Notice& notice, std::vector<Fd> fds)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnLaneEnded(const control::Notice& notice) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnWatchEnded(const control::Notice& notice) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Has the agent keep a watch. `process`, when it is one, is watched in the inbox's queue already.
  absl::Status AskToWatch(const Ended& what, const ProcessId& process, absl::Time deadline);

  const uint32_t fork_generation_;
  AgentConnection connection_;
  ProcessId id_;
  uint32_t number_ = 0;
  uint64_t inbox_id_ = 0;
  // For all that this process writes.
  const std::shared_ptr<Budget> budget_;
  std::unique_ptr<Receiver> inbox_;
  std::unique_ptr<Calls> calls_;
  const std::unique_ptr<Receipts> receipts_;
  ObjectTable objects_;

  // 0 when it is none of this process's.
  uint64_t IdOf(const OutgoingLane& lane) const;

  mutable absl::Mutex mutex_;
  std::shared_ptr<InboxQueue> inbox_queue_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, Membership> memberships_ ABSL_GUARDED_BY(mutex_);
  // How many threads open a mailbox, and how many tell the agent that one is closed: not both at
  // once, since the agent knows of one receiver for all of a process's.
  int opening_ ABSL_GUARDED_BY(mutex_) = 0;
  int closing_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::CondVar closed_;
  absl::flat_hash_map<uint64_t, Link> links_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<ProcessId, uint64_t> link_of_ ABSL_GUARDED_BY(mutex_);
  // Lanes to mailboxes, by lane id and by the name that was asked for.
  absl::flat_hash_map<uint64_t, std::shared_ptr<OutgoingLane>> lanes_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, uint64_t> lane_of_ ABSL_GUARDED_BY(mutex_);
  // What the agent is asked to tell the end of, by its id, until it has. Of a mailbox or node that
  // it has not answered of yet, nothing is in the inbox's queue: it is kNothing.
  struct WatchedSubject {
    Ended what;
    ProcessId process;
  };
  absl::flat_hash_map<uint64_t, WatchedSubject> watches_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_watch_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<Watcher> watcher_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_PROCESS_IMPL_H_
