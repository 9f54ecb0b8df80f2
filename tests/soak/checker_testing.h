#ifndef MAILRAIL_TESTS_SOAK_CHECKER_TESTING_H_
#define MAILRAIL_TESTS_SOAK_CHECKER_TESTING_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/soak/checker.h"

namespace mailrail::soak {

inline constexpr uint64_t kBox = 1;  // a mailbox of node 0

class CheckerTest : public ::testing::Test {
 protected:
  CheckerTest() { history_.mailboxes[kBox] = 0; }

  // A process; its number is its key less kFirstKey.
  size_t Attach(int node = 0) {
    const size_t process = history_.lives.size();
    Life& life = history_.lives.emplace_back();
    life.name = "p" + std::to_string(process);
    life.node = node;
    Event event;
    event.destination = Key(process);
    life.events.push_back(event);
    return process;
  }
  static uint64_t Key(size_t process) { return kFirstKey + process; }

  void Killed(size_t process, int64_t time) {
    Life& life = history_.lives[process];
    life.killed = true;
    life.struck_ns = time;
    life.died_ns = time + 1;
  }

  void CallSend(size_t process, uint64_t to, uint64_t value, int64_t time, int priority = 0) {
    Event event;
    event.kind = EventKind::kSendCall;
    event.destination = to;
    event.value = value;
    event.bytes = 8;
    event.priority = static_cast<uint8_t>(priority);
    event.time_ns = time;
    history_.lives[process].events.push_back(event);
  }
  void Send(size_t process, uint64_t to, uint64_t value, int64_t call, int64_t returned,
            int priority = 0, absl::StatusCode status = absl::StatusCode::kOk) {
    CallSend(process, to, value, call, priority);
    Event event = history_.lives[process].events.back();
    event.kind = EventKind::kSendReturn;
    event.status = status;
    event.time_ns = returned;
    history_.lives[process].events.push_back(event);
  }

  void CallReceive(size_t process, uint64_t from, int64_t time) {
    Event event;
    event.kind = EventKind::kReceiveCall;
    event.destination = from;
    event.time_ns = time;
    history_.lives[process].events.push_back(event);
  }
  // The return of a receive of `value`, as it was sent; it may be changed.
  Event& Receive(size_t process, uint64_t from, uint64_t value, int64_t call, int64_t returned) {
    CallReceive(process, from, call);
    Event event;
    event.kind = EventKind::kReceiveReturn;
    event.destination = from;
    event.value = value;
    event.bytes = 8;
    event.time_ns = returned;
    event.sequence = value;
    for (size_t sender = 0; sender < history_.lives.size(); ++sender) {
      for (const Event& sent : history_.lives[sender].events) {
        if (sent.kind != EventKind::kSendCall || sent.value != value) continue;
        event.priority = sent.priority;
        event.peer = Key(sender);
      }
    }
    return history_.lives[process].events.emplace_back(event);
  }
  // What the last receive returned is acknowledged, or given back.
  Event& CallSettle(size_t process, bool acknowledges, int64_t call) {
    Event event = history_.lives[process].events.back();
    event.kind = EventKind::kSettleCall;
    event.acknowledges = acknowledges;
    event.time_ns = call;
    return history_.lives[process].events.emplace_back(event);
  }
  void Settle(size_t process, bool acknowledges, int64_t call, int64_t returned,
              absl::StatusCode status = absl::StatusCode::kOk) {
    Event event = CallSettle(process, acknowledges, call);
    event.kind = EventKind::kSettleReturn;
    event.status = status;
    event.time_ns = returned;
    history_.lives[process].events.push_back(event);
  }
  void ReceiveNothing(size_t process, uint64_t from, int64_t call, int64_t returned,
                      absl::StatusCode status = absl::StatusCode::kDeadlineExceeded) {
    Event& event = Receive(process, from, 0, call, returned);
    event.status = status;
  }

  void Watch(size_t process, size_t peer) {
    Event event;
    event.kind = EventKind::kWatched;
    event.destination = Key(process);
    event.peer = Key(peer);
    history_.lives[process].events.push_back(event);
  }
  void TellEnd(size_t process, size_t peer, int64_t call, int64_t returned,
               EndReason reason = EndReason::kKilled) {
    Event& event = Receive(process, Key(process), 0, call, returned);
    event.kind = EventKind::kEndTold;
    event.peer = Key(peer);
    event.reason = reason;
  }

  std::vector<Breach> Breaches() {
    std::vector<Breach> breaches;
    for (const Violation& violation : Check(history_).violations) {
      breaches.push_back(violation.breach);
      EXPECT_FALSE(violation.text.empty());
    }
    return breaches;
  }

  History history_;
};

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_CHECKER_TESTING_H_
