#ifndef MAILRAIL_NODE_AGENT_DISTRIBUTOR_H_
#define MAILRAIL_NODE_AGENT_DISTRIBUTOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "core/mailbox/mailbox_queue.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/message/prefix.h"
#include "core/shm/bell.h"
#include "core/shm/memory.h"
#include "mailrail/mailbox.h"

namespace mailrail {

// What is kept in shared memory about the last message that was given to a subscription at each
// priority, from before it is published there, for an agent that takes over: in the page of the
// subscription's control page. Written field by field in program order, as MoveNote is.
struct DistributionNote {
  static constexpr size_t kOffset = 4096 - 256 - 1024;

  uint64_t lane;
  uint64_t sequence;
  uint64_t position;  // in the agent's lane; 0: none
};
static_assert(DistributionNote::kOffset >= sizeof(ControlPage));
static_assert(kPriorityCount * sizeof(DistributionNote) <= 1024);

// Takes what is sent to broadcast mailboxes of this node itself (by processes of other nodes, by
// one-shot senders, and by all where there is a log), and gives each message to each subscription
// that had been opened when it was sent, as stamps say.
//
// Of one priority of a mailbox it has one message at a time, which it leases until all have it: so
// the order is one for all. One for which some subscription has no room holds up those of its
// priority and below, not those above. An agent that takes over finds the leases of the one before
// it, and by the notes who has got what; so each gets each message once, whenever agents die.
//
// A thread of its own, which sleeps while there is nothing to do. Thread-safe.
class Distributor {
 public:
  struct Options {
    std::function<void(absl::string_view)> log;
    // These must only queue and return. A mailbox has something that is the agent's to look at.
    std::function<void(uint64_t mailbox)> look;
    // A message to this mailbox was dropped.
    std::function<void(uint64_t mailbox)> dropped;
  };

  struct Target {
    uint64_t mailbox = 0;  // the subscription
    uint64_t opened_stamp = 0;
    std::shared_ptr<OutgoingLane> lane;  // the distributor's alone
    Mapping control;                     // the page of the ControlPage, with the notes, read-write
  };
  struct Source {
    uint64_t mailbox = 0;
    MailboxOptions options;
    std::shared_ptr<MailboxQueue> queue;
    DestinationMemory memory;  // all of it read-write
    std::vector<Target> targets;
  };

  explicit Distributor(Options options) : options_(std::move(options)) {}
  ~Distributor() { Stop(); }

  // Takes up what an agent before this one had leased.
  void AddSource(Source source);
  bool HasSource(uint64_t mailbox);
  // After this nothing more is done to it and its targets; nothing happens when it is not there.
  void RemoveSource(uint64_t mailbox);
  void AddTarget(uint64_t source, Target target);
  void RemoveTarget(uint64_t source, uint64_t mailbox);
  // A lane of a source has joined, or has ended; nothing happens when it is not there.
  void Join(uint64_t source, std::shared_ptr<IncomingCells> lane, uint32_t version);
  void End(uint64_t source, uint64_t lane, uint32_t version);
  // Its members_version changes to this one, and nothing else does.
  void Reach(uint64_t source, uint32_t version);

  // Ends the thread.
  void Stop();

 private:
  // A message on its way to the subscriptions.
  struct Pending {
    Lease lease;
    std::string prefix;
    std::string body;
    bool expires = false;
    std::vector<uint64_t> to;  // those that have not got it
  };
  struct Mailbox {
    Source source;
    Parker parker;
    std::map<uint64_t, Target> targets;
    absl::optional<Pending> pending[kPriorityCount];

    const ControlPage& control() const { return *source.memory.control_page(); }
  };
  using MailboxPtr = std::shared_ptr<Mailbox>;

  void Run();
  void Wake();
  MailboxPtr Find(uint64_t mailbox) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Each is true when something was done.
  bool DistributeAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Distribute(Mailbox* mailbox);
  bool TakeNext(Mailbox* mailbox, int lowest);
  // Goes on with what is pending at this priority.
  bool Continue(Mailbox* mailbox, int priority);
  // Makes a lease the message that is pending at its priority; false when it is none, and dropped.
  bool Start(Mailbox* mailbox, Lease lease);
  // Of a lease of an agent before this one: who has got it already does not get it again.
  void Resume(Mailbox* mailbox, Lease lease);
  // False when the subscription has no room for it now.
  bool Give(Mailbox* mailbox, Target* target, int priority, const Pending& pending);
  void Drop(Mailbox* mailbox, absl::string_view why);
  static volatile DistributionNote* NoteOf(const Target& target, int priority);

  const Options options_;
  // Held by who waits for mutex_, but for the thread: so that it lets them in however much it has
  // to do. Before mutex_.
  absl::Mutex turn_;
  absl::Mutex mutex_;
  std::map<uint64_t, MailboxPtr> mailboxes_ ABSL_GUARDED_BY(mutex_);
  bool stops_ ABSL_GUARDED_BY(mutex_) = false;
  // Of those who have mutex_.
  uint64_t dropped_ = 0;
  uint64_t bytes_ = 0;  // written in this turn of a mailbox
  SharedAtomic<uint32_t> wakes_{0};
  std::thread thread_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_DISTRIBUTOR_H_
