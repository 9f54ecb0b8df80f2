// For tests of this folder about mutexes and the like.
#ifndef MAILRAIL_TESTS_CONFORMANCE_LOCK_FIXTURE_H_
#define MAILRAIL_TESTS_CONFORMANCE_LOCK_FIXTURE_H_

#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {

inline const absl::Status& StatusOf(const LockResult& result) { return result.status; }

// The objects of a test, and calls of them by parties. Each call is one of a thread of the party,
// the first one unless said otherwise.
class LockTest : public ConformanceTest {
 protected:
  using Call = party::LockCall;
  using Result = LockResult;

  static absl::Time AtOnce() { return absl::InfinitePast(); }

  static Call Of(Call::Kind kind, const std::string& name, Call::What what, uint32_t thread = 0) {
    Call call;
    call.set_kind(kind);
    call.set_name(name);
    call.set_what(what);
    call.set_thread(thread);
    return call;
  }

  // Of a mutex.
  static Result Open(Party& party, const std::string& name) {
    return party.CallLock(Of(Call::MUTEX, name, Call::OPEN));
  }
  static Result Lock(Party& party, const std::string& name, absl::Time deadline = Patience(),
                     uint32_t thread = 0) {
    return party.CallLock(Of(Call::MUTEX, name, Call::LOCK, thread), deadline);
  }
  static Result Unlock(Party& party, const std::string& name, uint32_t thread = 0) {
    return party.CallLock(Of(Call::MUTEX, name, Call::UNLOCK, thread));
  }

  // Starts a call, and waits until it sleeps, beside so many others of `party` that do for long.
  std::future<Result> Begin(Party& party, const Call& call, absl::Time deadline = Patience(),
                            size_t beside = 0) {
    // First, since who asks the agent sleeps, too.
    Call open = call;
    open.set_what(Call::OPEN);
    EXPECT_THAT(party.CallLock(open), IsOk());
    std::future<Result> result = std::async(
        std::launch::async, [&party, call, deadline] { return party.CallLock(call, deadline); });
    EXPECT_TRUE(Eventually([&] { return party.Asleep() > beside; }));
    return result;
  }

  // Which of these ends first.
  static uint32_t FirstToEnd(const std::vector<std::future<Result>>& results) {
    uint32_t first = 0;
    EXPECT_TRUE(Eventually([&] {
      for (first = 0; first < results.size(); ++first) {
        if (results[first].wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
          return true;
        }
      }
      return false;
    }));
    return first;
  }
};

// Those who share memory.
#define MAILRAIL_ON_ONE_NODE(Suite) \
  INSTANTIATE_TEST_SUITE_P(         \
      , Suite, testing::Values(Transport::kSameProcess, Transport::kTwoProcesses), TransportName)

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_CONFORMANCE_LOCK_FIXTURE_H_
