// Whether a history keeps the contract.
//
// A send is told when it returned OK. One that returned kDeadlineExceeded or kResourceExhausted has
// sent nothing. One that did not return, since its process was killed, or that found its
// destination gone, may have sent: its message arrives once or never.
//
//   lost         a told message was never received, and nothing excuses it. What stood in an inbox
//                goes with its process when that is killed, but nothing is missing before what it
//                has received of the same sender and priority. Of a mailbox, a receiver that was
//                killed in a receive may have taken one message, which it then had: each death
//                excuses one, and only one that it can have taken: not before the receive was
//                called, after what goes before the message, before what goes after it.
//   phantom      received, but not sent to there, or its send had said that it was not sent
//   duplicate    received twice; but for messages of a mailbox that has receivers on other nodes,
//                when all but one are marked redelivered
//   order        of one sender, destination and priority: a later one was received before the
//                receive that returned an earlier one was called
//   queue order  of a mailbox and priority, the same for any senders of its node, when the send of
//                the one had returned before that of the other was called
//   priority     a receive returned a message while a better one of this node, whose send had
//                returned before the receive was called, was received only later
//   hidden       a receive returned nothing, though a message of this node, whose send had returned
//                before, was received only later. Not while the agent is out: then a receiver may
//                wait for lanes that have joined, and of a sender that is new to it know nothing
//   mark         marked redelivered, though no receiver of the mailbox was killed before
//   end          the end of a watched process was told wrongly, before it ended, before one of its
//                messages, twice, or never
//
// Of a mailbox whose receivers acknowledge by hand (History::lease_ns) leases.h says what is lost,
// a duplicate or a mark; no death excuses anything there.
//
//   altered      body, size, priority, sender or sequence are not what was sent
//   status       a call failed that had no reason to
//
// Order, queue order, priority and hidden are for first deliveries: what is marked redelivered was
// away in between. What a receiver on another node is brought may be away and come back unmarked,
// so the mailboxes that have such receivers are only checked for order; and it is claimed in the
// name of its receiver, which may be in a later call when it comes.
#ifndef MAILRAIL_TESTS_SOAK_CHECKER_H_
#define MAILRAIL_TESTS_SOAK_CHECKER_H_

#include <cstdint>
#include <vector>

#include "tests/soak/history.h"
#include "tests/soak/violation.h"

namespace mailrail::soak {

struct Verdict {
  std::vector<Violation> violations;
  uint64_t told = 0;
  uint64_t received = 0;
  uint64_t redelivered = 0;
  // Told, and gone with a process that was killed: in its inbox, or taken from a mailbox.
  uint64_t gone_in_inboxes = 0;
  uint64_t gone_taken = 0;
  uint64_t ends_told = 0;
  uint64_t leased = 0;  // receipts of mailboxes whose receivers acknowledge by hand
};

// REQUIRES: all processes of `history` have ended, or at least drained what they receive from.
Verdict Check(const History& history);

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_CHECKER_H_
