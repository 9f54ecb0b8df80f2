#include "node/peer/event_loop.h"

#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrail {
namespace {

using ::testing::ElementsAre;

TEST(EventLoop, RunsTasksInOrderOnceStarted) {
  std::vector<int> ran;
  EventLoop loop;
  loop.Post([&] { ran.push_back(1); });
  loop.Post([&] {
    ran.push_back(2);
    loop.Post([&] { ran.push_back(3); });
  });
  EXPECT_THAT(ran, ElementsAre());
  loop.Start();
  loop.Stop();
  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
}

TEST(EventLoop, RunsTimersByTimeAndNotBefore) {
  std::vector<int> ran;
  absl::Notification done;
  EventLoop loop;
  loop.Start();
  const absl::Time now = absl::Now();
  loop.PostAt(now + absl::Milliseconds(20), [&] {
    EXPECT_GE(absl::Now(), now + absl::Milliseconds(20));
    ran.push_back(2);
    done.Notify();
  });
  loop.PostAt(now + absl::Milliseconds(10), [&] { ran.push_back(1); });
  loop.PostAt(absl::InfiniteFuture(), [&] { ran.push_back(3); });
  done.WaitForNotification();
  loop.Stop();
  EXPECT_THAT(ran, ElementsAre(1, 2));
}

TEST(EventLoop, StopWithoutStartRunsNothing) {
  EventLoop loop;
  loop.Post([] { FAIL(); });
  loop.Stop();
}

}  // namespace
}  // namespace mailrail
