// What sync.h promises of shared mutexes.
#include "tests/conformance/lock_fixture.h"

namespace mailrail {
namespace {

using absl::StatusCode;

class SharedMutexTest : public LockTest {
 protected:
  void SetUp() override {
    LockTest::SetUp();
    name_ = NewName();
  }
  Call Do(Call::What what, uint32_t thread = 0) const {
    return Of(Call::SHARED_MUTEX, name_, what, thread);
  }
  std::string name_;
};

MAILRAIL_OVER_TRANSPORTS(SharedMutexTest);

TEST_P(SharedMutexTest, ManyReadOrOneWrites) {
  ASSERT_THAT(self().CallLock(Do(Call::LOCK_SHARED)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::LOCK_SHARED), AtOnce()), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::LOCK_SHARED, 1), AtOnce()), IsOk());
  EXPECT_THAT(peer().CallLock(Do(Call::LOCK, 2), AtOnce()), HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(self().CallLock(Do(Call::UNLOCK_SHARED)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::UNLOCK_SHARED)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::UNLOCK_SHARED, 1)), IsOk());
  ASSERT_THAT(self().CallLock(Do(Call::LOCK), AtOnce()), IsOk());
  EXPECT_THAT(peer().CallLock(Do(Call::LOCK_SHARED), AtOnce()),
              HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(peer().CallLock(Do(Call::LOCK), AtOnce()), HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(self().CallLock(Do(Call::UNLOCK)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::LOCK), AtOnce()), IsOk());
  EXPECT_THAT(self().CallLock(Do(Call::LOCK_SHARED), AtOnce()),
              HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(peer().CallLock(Do(Call::UNLOCK)), IsOk());
  EXPECT_THAT(peer().CallLock(Do(Call::LOCK_SHARED), AtOnce()), IsOk());
}

TEST_P(SharedMutexTest, AWriterThatWaitsGoesBeforeReadersThatComeLater) {
  ASSERT_THAT(self().CallLock(Do(Call::LOCK_SHARED)), IsOk());
  std::future<Result> writer = Begin(peer(), Do(Call::LOCK));
  EXPECT_THAT(self().CallLock(Do(Call::LOCK_SHARED, 1), AtOnce()),
              HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(self().CallLock(Do(Call::UNLOCK_SHARED)), IsOk());
  EXPECT_THAT(writer.get(), IsOk());
}

TEST_P(SharedMutexTest, AWriterThatGivesUpLetsReadersIn) {
  ASSERT_THAT(self().CallLock(Do(Call::LOCK_SHARED)), IsOk());
  EXPECT_THAT(peer().CallLock(Do(Call::LOCK), absl::Now() + absl::Milliseconds(30)),
              HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(peer().CallLock(Do(Call::LOCK_SHARED), AtOnce()), IsOk());
}

TEST_P(SharedMutexTest, ADeadReaderLetsTheWriterIn) {
  ASSERT_THAT(peer().CallLock(Do(Call::LOCK_SHARED)), IsOk());
  std::future<Result> writer = Begin(self(), Do(Call::LOCK));
  peer().End();
  const Result result = writer.get();
  ASSERT_THAT(result, IsOk());
  EXPECT_FALSE(result.owner_died) << "it had changed nothing";
}

TEST_P(SharedMutexTest, ReadersAreToldOfADeadWriterUntilSomebodyHasWritten) {
  ASSERT_THAT(self().CallLock(Do(Call::OPEN)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::LOCK)), IsOk());
  peer().End();
  for (uint32_t thread = 0; thread < 2; ++thread) {
    const Result result = self().CallLock(Do(Call::LOCK_SHARED, thread));
    ASSERT_THAT(result, IsOk());
    EXPECT_TRUE(result.owner_died);
  }
  // A writer that gives up has written nothing.
  EXPECT_THAT(self().CallLock(Do(Call::LOCK, 2), AtOnce()), HasCode(StatusCode::kDeadlineExceeded));
  for (uint32_t thread = 0; thread < 2; ++thread) {
    ASSERT_THAT(self().CallLock(Do(Call::UNLOCK_SHARED, thread)), IsOk());
  }
  const Result writer = self().CallLock(Do(Call::LOCK, 2));
  ASSERT_THAT(writer, IsOk());
  EXPECT_TRUE(writer.owner_died);
  ASSERT_THAT(self().CallLock(Do(Call::UNLOCK, 2)), IsOk());
  EXPECT_FALSE(self().CallLock(Do(Call::LOCK_SHARED)).owner_died);
}

TEST_P(SharedMutexTest, AThreadThatHasItCannotLockItAgain) {
  ASSERT_THAT(self().CallLock(Do(Call::LOCK_SHARED)), IsOk());
  EXPECT_THAT(self().CallLock(Do(Call::LOCK_SHARED)), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(self().CallLock(Do(Call::LOCK)), HasCode(StatusCode::kFailedPrecondition));
  ASSERT_THAT(self().CallLock(Do(Call::UNLOCK_SHARED)), IsOk());
  EXPECT_THAT(self().CallLock(Do(Call::UNLOCK_SHARED)), HasCode(StatusCode::kFailedPrecondition));
  ASSERT_THAT(self().CallLock(Do(Call::LOCK)), IsOk());
  EXPECT_THAT(self().CallLock(Do(Call::LOCK_SHARED)), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(self().CallLock(Do(Call::LOCK)), HasCode(StatusCode::kFailedPrecondition));
}

TEST_P(SharedMutexTest, ACycleThroughReadersIsFound) {
  const std::string other = NewName();
  ASSERT_THAT(self().CallLock(Do(Call::LOCK_SHARED)), IsOk());
  ASSERT_THAT(Lock(peer(), other), IsOk());
  std::vector<std::future<Result>> locks;
  locks.push_back(Begin(peer(), Do(Call::LOCK)));
  locks.push_back(std::async(std::launch::async, [&] { return Lock(self(), other); }));
  const uint32_t refused = FirstToEnd(locks);
  EXPECT_THAT(locks[refused].get(), HasCode(StatusCode::kFailedPrecondition));
  if (refused == 0) {
    ASSERT_THAT(Unlock(peer(), other), IsOk());
  } else {
    ASSERT_THAT(self().CallLock(Do(Call::UNLOCK_SHARED)), IsOk());
  }
  EXPECT_THAT(locks[1 - refused].get(), IsOk());
}

TEST_P(SharedMutexTest, ReadersOfTwoDoNotWaitForEachOther) {
  const std::string other = NewName();
  ASSERT_THAT(self().CallLock(Do(Call::LOCK_SHARED)), IsOk());
  ASSERT_THAT(peer().CallLock(Of(Call::SHARED_MUTEX, other, Call::LOCK_SHARED)), IsOk());
  EXPECT_THAT(self().CallLock(Of(Call::SHARED_MUTEX, other, Call::LOCK_SHARED), AtOnce()), IsOk());
  EXPECT_THAT(peer().CallLock(Do(Call::LOCK_SHARED), AtOnce()), IsOk());
}

}  // namespace
}  // namespace mailrail
