#ifndef MAILRAIL_TESTS_CONFORMANCE_LEASE_FIXTURE_H_
#define MAILRAIL_TESTS_CONFORMANCE_LEASE_FIXTURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {

// The mailbox is on self()'s node, the receiver is peer() or another like it.
class LeaseTest : public ConformanceTest {
 protected:
  static constexpr absl::Duration kShort = absl::Milliseconds(300);

  // Creates a mailbox, and opens it to send from self().
  void Create(const MailboxOptions& options = {}) {
    name_ = NewName();
    ASSERT_THAT(self().CreateMailbox(name_, options), IsOk());
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name_));
    sender_ = sender;
  }
  // A leasing receiver of it.
  Handle Open(Party& party) {
    const absl::StatusOr<Handle> handle = party.OpenLeasing(full_name());
    EXPECT_THAT(handle, IsOk());
    return handle.value_or(0);
  }
  std::string full_name() const { return name_ + "@alpha"; }
  void Send(const std::vector<Outgoing>& messages) {
    ASSERT_THAT(self().Send(sender_, messages), IsOk());
  }
  // The next message; fails the test when there is none.
  static Received Next(Party& party, Handle receiver) {
    const ReceiveResult result = party.Receive(receiver, 1);
    EXPECT_THAT(result, IsOk());
    return result.messages.empty() ? Received() : result.messages[0];
  }
  // Expects that nothing comes for a while.
  static void ExpectNothing(Party& party, Handle receiver) {
    EXPECT_THAT(party.Receive(receiver, 1, absl::Now() + kShort),
                HasCode(absl::StatusCode::kDeadlineExceeded));
  }
  // A number that is not the one expected is another message.
  static void ExpectIs(const Received& message, uint64_t number, int attempts) {
    EXPECT_EQ(message.number, number);
    EXPECT_EQ(message.attempts, attempts);
    EXPECT_TRUE(message.intact);
  }

  std::string name_;
  Handle sender_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_CONFORMANCE_LEASE_FIXTURE_H_
