#ifndef MAILRAIL_NODE_AGENT_MAILBOX_BROWSER_H_
#define MAILRAIL_NODE_AGENT_MAILBOX_BROWSER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "node/agent/loop.h"
#include "node/agent/mailbox_scan.h"
#include "node/agent/message_mover.h"
#include "node/agent/registry.h"
#include "proto/common.pb.h"

namespace mailrail {

// Looks into this node's mailboxes for who receives nothing, and moves dead letters back. What is
// asked of it takes turns, and in each turn of the loop it does a bounded part of one, so neither
// large mailboxes nor many requests hold up the agent. An answer has a bounded size, and says where
// the next is to go on.
//
// One thread at a time: the loop's.
class MailboxBrowser {
 public:
  struct Options {
    // As MailboxSweeper::EndOfLease.
    std::function<absl::optional<absl::Time>(uint64_t mailbox, uint64_t lane, int priority,
                                             uint32_t slot, const CellState& state)>
        end_of_lease;
  };

  // All outlive it.
  MailboxBrowser(Options options, Loop* loop, Registry* registry, MessageMover* mover)
      : options_(std::move(options)), loop_(loop), registry_(registry), mover_(mover) {}

  template <typename Answer>
  struct Call {
    // Whether somebody still waits for the answer.
    std::function<bool()> wanted;
    // kNotFound when the mailbox is gone, kResourceExhausted when too much is asked at a time.
    std::function<void(absl::StatusOr<Answer>)> done;
  };
  void Browse(const LocalMailbox& mailbox, const proto::Browse& browse, Call<proto::Browsed> call);
  // kInvalidArgument when `to` is the mailbox itself or is none of this node, kNotFound when there
  // is no such mailbox.
  void Redrive(const LocalMailbox& mailbox, const proto::Redrive& redrive,
               Call<proto::Redriven> call);

 private:
  // A scan, and what is done with what it has found.
  struct Job {
    Job(const MailboxScan::Options& options, uint64_t id, Registry* registry)
        : mailbox(id), scan(options, id, registry) {}

    const uint64_t mailbox;
    MailboxScan scan;
    std::function<bool()> wanted;
    std::function<void(absl::Status)> fail;
    std::function<void(LocalMailbox* mailbox)> finish;  // when the scan has come to its end
  };
  // A request to move, and how far it has come.
  struct Moves;

  void Start(std::shared_ptr<Job> job);
  // Has the loop do a part of the first job, if there is one.
  void Schedule();
  void Run();

  proto::Browsed RowsOf(const LocalMailbox& mailbox, const proto::Browse& browse,
                        MailboxScan* scan) const;
  // One message; nothing when it is not there any more, or not to be shown. `work` is raised by the
  // bytes that this took.
  absl::optional<proto::BrowsedMessage> RowOf(const LocalMailbox& mailbox, const MailboxLane& lane,
                                              const CellBrowser& cells,
                                              const MailboxScan::Found& found,
                                              const proto::Browse& browse, size_t* work) const;
  void DescribeState(const LocalMailbox& mailbox, uint64_t lane, int priority,
                     const CellBrowser::Found& found, proto::BrowsedMessage* row) const;

  absl::StatusOr<LocalMailbox*> TargetOf(const LocalMailbox& mailbox, const std::string& to) const;
  void Move(Moves* moves, MailboxScan* scan);
  void MoveOne(Moves* moves, const MailboxScan::Found& found);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  MessageMover* const mover_;
  std::deque<std::shared_ptr<Job>> jobs_;
  bool scheduled_ = false;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_MAILBOX_BROWSER_H_
