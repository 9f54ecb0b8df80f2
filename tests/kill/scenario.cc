#include "tests/kill/scenario.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/support/body.h"

namespace mailrail {

void Scenario::OnMessage(const Message& message) {
  to_witness_.emplace_back(message);
  ++witnessed_;
}

void Scenario::Attach() { process_ = Must(Process::Attach(world_.options())); }

bool Scenario::SendNext(Sender& sender, size_t size, int priority, absl::Time deadline) {
  // One that had no room is sent again under the same number.
  const uint64_t number = page().told + 1;
  page().attempted = number;
  const absl::Status status = sender.Send(MakeBody(number, size), {.priority = priority}, deadline);
  if (absl::IsDeadlineExceeded(status)) return false;
  if (!status.ok()) Victim::Fail(status.ToString());
  page().told = number;
  return true;
}

void Scenario::Note(const Message& message, bool may_come_again) {
  if (!IsIntact(message.body())) Victim::Fail("a torn body");
  if (message.redelivered() && !may_come_again) Victim::Fail("redelivered to the victim");
  page().numbers[page().received] = NumberOf(message.body());
  ++page().received;
}

bool Scenario::ReceiveNext(Receiver& receiver, absl::Time deadline) {
  const absl::StatusOr<Message> message = receiver.Receive(deadline);
  if (absl::IsDeadlineExceeded(message.status())) return false;
  if (!message.ok()) Victim::Fail(message.status().ToString());
  Note(*message);
  return true;
}

void Scenario::SendFromPeer(Sender& sender, size_t size, int priority) {
  SendOptions options = OptionsOf(++from_peer_);
  options.priority = priority;
  const absl::Status status = sender.Send(MakeBody(from_peer_, size), options, GoOnDeadline());
  EXPECT_TRUE(status.ok()) << status;
}

void Scenario::ExpectAllOfTheVictims(const std::vector<Received>& received) const {
  std::map<int, uint64_t> last;  // by priority
  std::set<uint64_t> numbers;
  for (const Received& message : received) {
    if (message.sender != victim_) continue;
    EXPECT_TRUE(message.intact) << message.number << " is torn";
    EXPECT_FALSE(message.redelivered) << message.number;
    EXPECT_TRUE(numbers.insert(message.number).second) << message.number << " came twice";
    EXPECT_GT(message.number, last[message.priority]) << "out of order";
    last[message.priority] = message.number;
  }
  for (uint64_t number = 1; number <= page().told; ++number) {
    EXPECT_TRUE(numbers.contains(number)) << number << " was told OK, and is lost";
  }
  if (!numbers.empty()) {
    EXPECT_LE(*numbers.rbegin(), page().attempted) << "nobody sent this";
    EXPECT_EQ(numbers.size(), *numbers.rbegin());
  }
}

void Scenario::ExpectAllOfThePeers(const std::vector<Received>& received, bool killed,
                                   int given_back) const {
  const uint64_t noted = page().received;
  std::set<uint64_t> by_victim(page().numbers, page().numbers + noted);
  EXPECT_EQ(by_victim.size(), noted) << "the victim has received one twice";
  std::set<uint64_t> by_others;
  std::map<uint64_t, uint64_t> last;  // by group
  int redelivered = 0;
  for (const Received& message : received) {
    if (message.sender != world_.peer().id()) continue;
    EXPECT_TRUE(message.intact) << message.number << " is torn";
    EXPECT_TRUE(by_others.insert(message.number).second) << message.number << " came twice";
    EXPECT_FALSE(by_victim.contains(message.number))
        << message.number << " came again, after the victim had received it";
    redelivered += message.redelivered;
    if (message.redelivered) continue;
    EXPECT_GT(message.number, last[GroupOf(message)]) << "out of order, and not marked";
    last[GroupOf(message)] = message.number;
  }
  EXPECT_LE(redelivered, given_back + (killed ? 1 : 0));
  int missing = 0;
  for (uint64_t number = 1; number <= from_peer_; ++number) {
    if (by_others.contains(number) || by_victim.contains(number)) continue;
    ++missing;
    EXPECT_TRUE(by_victim.empty() || number > *by_victim.rbegin()) << number << " is lost";
  }
  EXPECT_LE(missing, killed ? 1 : 0) << "lost messages";
  EXPECT_LE(by_others.size() + by_victim.size(), from_peer_);
}

}  // namespace mailrail
