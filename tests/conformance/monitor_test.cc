// What monitor.h promises: conditions, and monitors made of them.
#include <deque>
#include <thread>

#include "tests/conformance/lock_fixture.h"

namespace mailrail {
namespace {

using absl::StatusCode;

class ConditionTest : public LockTest {
 protected:
  void SetUp() override {
    LockTest::SetUp();
    mutex_ = NewName();
    condition_ = NewName();
  }
  Call Do(Call::What what, uint32_t thread = 0) const {
    Call call = Of(Call::CONDITION, condition_, what, thread);
    call.set_mutex(mutex_);
    return call;
  }
  // A thread of `party` locks the mutex, and waits at the condition.
  std::future<Result> BeginWait(Party& party, uint32_t thread = 0,
                                absl::Time deadline = Patience()) {
    EXPECT_THAT(Lock(party, mutex_, Patience(), thread), IsOk());
    return Begin(party, Do(Call::WAIT, thread), deadline, /*beside=*/thread);
  }
  std::string mutex_;
  std::string condition_;
};

MAILRAIL_OVER_TRANSPORTS(ConditionTest);

TEST_P(ConditionTest, AWaiterHasUnlockedTheMutexAndHasItAgainWhenItIsNotified) {
  std::future<Result> wait = BeginWait(peer());
  ASSERT_THAT(Lock(self(), mutex_), IsOk());
  ASSERT_THAT(self().CallLock(Do(Call::NOTIFY_ONE)), IsOk());
  EXPECT_EQ(wait.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout)
      << "the mutex is not free yet";
  ASSERT_THAT(Unlock(self(), mutex_), IsOk());
  EXPECT_THAT(wait.get(), IsOk());
  EXPECT_THAT(Lock(self(), mutex_, AtOnce()), HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Unlock(peer(), mutex_), IsOk());
}

TEST_P(ConditionTest, AWaiterThatIsNotNotifiedHasTheMutexAtTheDeadline) {
  std::future<Result> wait = BeginWait(peer(), 0, absl::Now() + absl::Milliseconds(300));
  EXPECT_THAT(wait.get(), HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Unlock(peer(), mutex_), IsOk());
}

TEST_P(ConditionTest, AWaiterThatIsNotNotifiedIsToldThatAnOwnerHasDiedMeanwhile) {
  std::future<Result> wait = BeginWait(self(), 0, absl::Now() + absl::Milliseconds(500));
  ASSERT_THAT(Lock(peer(), mutex_), IsOk());
  peer().End();
  const Result result = wait.get();
  EXPECT_THAT(result, HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_TRUE(result.owner_died);
  EXPECT_GT(result.fence, 0u);
  EXPECT_THAT(Unlock(self(), mutex_), IsOk());
}

// Who waits to have the mutex again is in the cycle, but cannot be refused.
TEST_P(ConditionTest, ACycleThroughAWaiterThatWasNotifiedIsRefusedToAnother) {
  const std::string other = NewName();
  ASSERT_THAT(Lock(peer(), other), IsOk());
  std::future<Result> wait = BeginWait(peer());
  ASSERT_THAT(Lock(self(), mutex_), IsOk());
  ASSERT_THAT(self().CallLock(Do(Call::NOTIFY_ONE)), IsOk());
  EXPECT_THAT(Lock(self(), other), HasCode(StatusCode::kFailedPrecondition));
  ASSERT_THAT(Unlock(self(), mutex_), IsOk());
  EXPECT_THAT(wait.get(), IsOk());
  EXPECT_THAT(Unlock(peer(), mutex_), IsOk());
}

TEST_P(ConditionTest, WhoDoesNotHaveTheMutexCannotWait) {
  EXPECT_THAT(peer().CallLock(Do(Call::WAIT)), HasCode(StatusCode::kFailedPrecondition));
}

TEST_P(ConditionTest, ANotificationIsForOneAndOneForAllForAll) {
  std::vector<std::future<Result>> waits;
  for (uint32_t thread = 0; thread < 4; ++thread) waits.push_back(BeginWait(peer(), thread));
  ASSERT_THAT(self().CallLock(Do(Call::NOTIFY_ONE)), IsOk());
  const auto ended = [&] {
    uint32_t count = 0;
    for (uint32_t thread = 0; thread < 4; ++thread) {
      if (waits[thread].valid() &&
          waits[thread].wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
        EXPECT_THAT(waits[thread].get(), IsOk());
        EXPECT_THAT(Unlock(peer(), mutex_, thread), IsOk());
      }
      count += waits[thread].valid() ? 0 : 1;
    }
    return count;
  };
  EXPECT_TRUE(Eventually([&] { return ended() == 1; }));
  ASSERT_THAT(self().CallLock(Do(Call::NOTIFY_ALL)), IsOk());
  EXPECT_TRUE(Eventually([&] { return ended() == 4; }));
}

// Who can be ended in a call.
class ConditionDeathTest : public ConditionTest {};

INSTANTIATE_TEST_SUITE_P(, ConditionDeathTest, testing::Values(Transport::kTwoProcesses),
                         TransportName);

TEST_P(ConditionDeathTest, ADeadWaiterKeepsNobodyFromBeingNotified) {
  std::future<Result> dies = BeginWait(peer());
  std::future<Result> lives = BeginWait(self());
  peer().End();
  EXPECT_THAT(dies.get(), HasCode(StatusCode::kCancelled));
  // When its death has been noticed, or before, its turn is another's.
  EXPECT_TRUE(Eventually([&] { return !self().Resolve(peer().id().ToString()).ok(); }));
  ASSERT_THAT(self().CallLock(Do(Call::NOTIFY_ONE, 1)), IsOk());
  EXPECT_THAT(lives.get(), IsOk());
}

TEST_P(ConditionTest, WhoWaitsAtOneThatIsDestroyedIsTold) {
  std::future<Result> wait = BeginWait(peer());
  ASSERT_THAT(self().CallLock(Do(Call::DESTROY)), IsOk());
  EXPECT_THAT(wait.get(), HasCode(StatusCode::kUnavailable));
  EXPECT_THAT(Unlock(peer(), mutex_), IsOk()) << "it has the mutex";
}

// A bounded buffer between two processes attached in this program.
TEST(MonitorTest, ABoundedBufferPassesEverythingOnInOrder) {
  constexpr int kThings = 5000;
  constexpr size_t kRoom = 4;
  enum { kNotEmpty, kNotFull };
  auto cluster = Cluster::Start({"alpha"});
  ASSERT_THAT(cluster, IsOk());
  std::deque<int> buffer;
  const auto attach = [&] {
    AttachOptions options;
    options.socket = (*cluster)->Socket("alpha");
    options.autostart = false;
    return Process::Attach(options).value();
  };
  std::thread producer([&] {
    Process process = attach();
    Monitor monitor = Monitor::Open(process, "buffer", {"not_empty", "not_full"}).value();
    for (int i = 0; i < kThings; ++i) {
      Monitor::Entry entry = monitor.Enter(Patience()).value();
      ASSERT_THAT(entry.WaitUntil(
                      kNotFull, [&] { return buffer.size() < kRoom; }, Patience()),
                  IsOk());
      buffer.push_back(i);
      ASSERT_THAT(entry.NotifyOne(kNotEmpty), IsOk());
    }
  });
  Process process = attach();
  Monitor monitor = Monitor::Open(process, "buffer", {"not_empty", "not_full"}).value();
  for (int i = 0; i < kThings; ++i) {
    Monitor::Entry entry = monitor.Enter(Patience()).value();
    ASSERT_THAT(entry.WaitUntil(
                    kNotEmpty, [&] { return !buffer.empty(); }, Patience()),
                IsOk());
    ASSERT_EQ(buffer.front(), i);
    buffer.pop_front();
    ASSERT_THAT(entry.NotifyOne(kNotFull), IsOk());
  }
  producer.join();
  Monitor::Entry entry = monitor.Enter(Patience()).value();
  EXPECT_THAT(entry.Wait(7), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(entry.Wait(kNotEmpty, absl::Now() + absl::Milliseconds(20)),
              HasCode(StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace mailrail
