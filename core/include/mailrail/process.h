#ifndef MAILRAIL_PROCESS_H_
#define MAILRAIL_PROCESS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "mailrail/mailbox.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"
#include "mailrail/receiver.h"
#include "mailrail/sender.h"

namespace mailrail {

namespace internal {
class ProcessAccess;
class ProcessImpl;
}  // namespace internal

struct AttachOptions {
  // The agent's socket. When empty: $MAILRAIL_SOCKET, then $XDG_RUNTIME_DIR/mailrail/agent.sock,
  // then /run/mailrail/agent.sock; the first of these that is set or exists.
  std::string socket;

  // Start an agent for this user when none answers there. MAILRAIL_AUTOSTART=0 switches it off
  // too. Such an agent leaves when its last process has been gone for a minute.
  bool autostart = true;

  // The program to start; when empty $MAILRAIL_PROGRAM, then `mailrail` from PATH.
  std::string program;

  // How long to wait for the agent to answer.
  absl::Duration timeout = absl::Seconds(10);
};

// This program's membership of its node: identity, inbox, and the channels made from it. A program
// may attach more than once; each Process has an identity of its own.
//
// Move-only. Thread-safe, except for move and destruction, which come after every Sender and
// Receiver made from it. After fork() the child's copy refuses every call with
// kFailedPrecondition; the child attaches anew. Destroying the copies there does nothing to the
// parent's.
//
// Errors of all calls that take a name: kInvalidArgument for a malformed one. Of all calls that
// ask the agent: kUnavailable when it is not reached, kDeadlineExceeded after `deadline`, kAborted
// when this process is detached.
class Process {
 public:
  // Attaches to this host's agent. kUnavailable when there is none and none could be started,
  // kUnimplemented when it speaks another version, kResourceExhausted at its limit of processes.
  static absl::StatusOr<Process> Attach(const AttachOptions& options = {});

  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();

  const ProcessId& id() const;

  // The private mailbox that direct sends arrive in. Owned by this Process.
  Receiver& inbox();

  // Makes this process known in the cluster as `name`, until it detaches or dies.
  // kAlreadyExists when a living process of this node has it.
  absl::Status RegisterName(absl::string_view name);

  // The process behind `billing`, `billing@beta`, `4711`, `4711@beta` or `4711.3@beta`. Without a
  // node: this node first, then its peers. kNotFound when there is none; kUnavailable when the
  // node named does not answer.
  absl::StatusOr<ProcessId> Resolve(absl::string_view name,
                                    absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Opens a channel to a process. The link is made on first use, one per pair, for both
  // directions. kNotFound when it does not live.
  absl::StatusOr<Sender> Connect(const ProcessId& process,
                                 absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Opens a channel to a mailbox (`orders`, `orders@alpha`). kResourceExhausted when it is a link
  // (ReceivePolicy::kLink) of two other processes.
  absl::StatusOr<Sender> ConnectMailbox(absl::string_view mailbox,
                                        absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Answers a request: sends `body` to where its answers are to go. Of a Sender::Call that is its
  // caller, which drops what comes too late. kFailedPrecondition when it wants no answer
  // (Message::reply_to). kUnavailable or kNotFound when whoever wants it is gone,
  // kResourceExhausted when a caller has 4096 answers of this process waiting. A request that is
  // acknowledged by hand is acknowledged after this.
  absl::Status Reply(const Message& request, absl::string_view body,
                     const SendOptions& options = {},
                     absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Opens a channel to whatever `name` is: a process (its id, pid or registered name) of this node,
  // else a mailbox of this node, else what another node has of this name. kNotFound when all nodes
  // say that they have not, kUnavailable when nobody has it and some node does not answer.
  absl::StatusOr<Sender> Connect(absl::string_view name,
                                 absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Has the end of `process` told in the inbox: a message with Message::end() and without a body,
  // once, after every message from that process and before all others that wait. Makes the link, as
  // Connect does. kNotFound when it does not live.
  //
  // This holds of all watches: each is told once, and then over. They go on when the agent is
  // started again, and when the way to another node breaks and comes back. While that node is
  // merely not reached nothing is told of its processes and mailboxes, for they may live: watch the
  // node. What is watched twice is told once. kResourceExhausted beyond kMaxWatches.
  absl::Status Watch(const ProcessId& process,
                     absl::Time deadline = absl::Now() + absl::Seconds(10));

  // The same of the process that has this name now (as of Resolve), and which that is.
  absl::StatusOr<ProcessId> Watch(absl::string_view name,
                                  absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Has the end of a mailbox told: kDestroyed, or kEnded when its node came back without its state.
  // When that is told nothing is put into the mailbox any more; who receives from it still gets
  // what had reached this process by then, so all that it can ever get has come when Receive
  // returns kUnavailable. Another mailbox of that name, made later, is not watched. kNotFound.
  absl::Status WatchMailbox(absl::string_view mailbox,
                            absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Has the end of another node told: kUnreachable when it was not reached for kUnreachableAfter (a
  // cut that nobody tells of is noticed up to 15 s late), and it may live; kEnded when it came back
  // without its state, and so without its processes and mailboxes. That an unreachable node is back
  // is not told, but watching it again returns when it is reached; so this waits for it, and
  // returns kUnavailable at the deadline. kNotFound for one that is not of this cluster,
  // kInvalidArgument for this process's own, whose end is kAborted everywhere.
  absl::Status WatchNode(absl::string_view node,
                         absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Takes a watch back: nothing is told from now on, not even an end that was not received yet.
  // kNotFound when there is none, or its end was received.
  absl::Status Unwatch(const ProcessId& process);
  absl::Status UnwatchMailbox(absl::string_view mailbox);
  absl::Status UnwatchNode(absl::string_view node);

  // Creates a mailbox on this node; it lives until it is destroyed, or, if it is owned, until this
  // process is gone. kAlreadyExists when the
  // cluster has one of this name, kInvalidArgument for options out of range.
  absl::Status CreateMailbox(absl::string_view name, const MailboxOptions& options = {},
                             absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Opens a mailbox to receive from, wherever it lives. kNotFound when there is none,
  // kResourceExhausted when it is a link of two other processes.
  absl::StatusOr<Receiver> OpenMailbox(absl::string_view name,
                                       absl::Time deadline = absl::Now() + absl::Seconds(10));

  // The same, with options.
  absl::StatusOr<Receiver> OpenMailbox(absl::string_view name, const ReceiveOptions& options,
                                       absl::Time deadline = absl::Now() + absl::Seconds(10));

  // What a mailbox is and has in it, wherever it lives. What is on its way to it from another node
  // is not in it yet. kNotFound.
  absl::StatusOr<MailboxState> StatMailbox(absl::string_view name,
                                           absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Destroys a mailbox: its waiting senders and receivers return kUnavailable; what is in it is
  // dropped, and the agent of its node logs how much that was.
  absl::Status DestroyMailbox(absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10));

  // The message that the next receive from a mailbox would get; nothing when none waits. Its body
  // up to kMostBrowsedBytes.
  //
  // Neither this nor Browse disturbs: nothing is claimed, counted as an attempt, moved or held up,
  // and senders and receivers go on meanwhile. What is received while it is looked at is shown
  // whole, as it was, or left out. The mailbox's node looks, so it may be any node's.
  absl::StatusOr<absl::optional<BrowsedMessage>> Peek(absl::string_view mailbox,
                                                      absl::Time deadline = absl::Now() +
                                                                            absl::Seconds(10));

  // What is in a mailbox, in the order in which it would be received if it all were now: also what
  // is leased or delayed, in the places that it would go back to. What has expired, or is on its
  // way to the dead letters, is left out. Of a mailbox that changes meanwhile each message is shown
  // once at most. kInvalidArgument for options out of range.
  absl::StatusOr<std::vector<BrowsedMessage>> Browse(absl::string_view mailbox,
                                                     const BrowseOptions& options = {},
                                                     absl::Time deadline = absl::Now() +
                                                                           absl::Seconds(10));

  // Moves dead letters that wait in a mailbox back to where they were sent, in the order of
  // receive, with body, sender, priority, headers and reply_to; each is there once, whatever dies
  // meanwhile. Attempts begin anew, and a time to live has no effect any more. What is no dead
  // letter, or is leased or delayed, stays; as does what cannot be moved now, which Redriven tells.
  // kInvalidArgument, and nothing is moved, when `to` is that mailbox itself, or of another node;
  // kNotFound when there is no such mailbox. An error only when nothing was moved.
  absl::StatusOr<Redriven> Redrive(absl::string_view dead_letters,
                                   const RedriveOptions& options = {},
                                   absl::Time deadline = absl::Now() + absl::Seconds(10));

 private:
  friend class MessageQueue;
  friend class internal::ProcessAccess;
  explicit Process(std::shared_ptr<internal::ProcessImpl> impl);
  std::shared_ptr<internal::ProcessImpl> impl_;
};

}  // namespace mailrail

#endif  // MAILRAIL_PROCESS_H_
