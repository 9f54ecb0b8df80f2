// The limits of what is counted: descriptors, mappings, processes. Who is refused is told why and
// what to do, nobody else is harmed, and it works when there is room again.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdlib>

#include "tests/fault/limited_agent.h"
#include "tests/fault/one_agent.h"

namespace mailrail {
namespace {

using absl::StatusCode;

class CountedLimitsTest : public LimitedAgentTest {
 protected:
  // Sends from one to the other.
  static void ExpectLinked(Process& from, Process& to) {
    absl::StatusOr<Sender> lane = from.Connect(to.id());
    ASSERT_TRUE(lane.ok()) << lane.status();
    EXPECT_OK(lane->Send("body", {}, Patience()));
    const absl::StatusOr<Message> message = to.inbox().Receive(Patience());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->body(), "body");
  }
};

// The limit of descriptors by which a process can open so many more.
size_t LimitThatLeaves(pid_t pid, size_t left) {
  size_t limit = 0;
  for (size_t free = 0;; ++limit) {
    struct stat status;
    const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(limit);
    if (lstat(path.c_str(), &status) == 0) continue;
    if (free++ == left) return limit;
  }
}

// Sets the limit of descriptors of a process as long as it lives.
class DescriptorLimit {
 public:
  DescriptorLimit(pid_t pid, size_t limit) : pid_(pid) {
    Require(prlimit(pid, RLIMIT_NOFILE, nullptr, &before_) == 0, "prlimit");
    const rlimit few = {limit, before_.rlim_max};
    Require(prlimit(pid, RLIMIT_NOFILE, &few, nullptr) == 0, "prlimit");
  }
  ~DescriptorLimit() { prlimit(pid_, RLIMIT_NOFILE, &before_, nullptr); }

 private:
  const pid_t pid_;
  rlimit before_;
};

TEST_F(CountedLimitsTest, OneProcessTooManyIsRefusedUntilAnotherHasLeft) {
  StartAgents({"--max-processes", "3"});
  ASSERT_OK_AND_TAKE(one, Attach());
  ASSERT_OK_AND_TAKE(two, Attach());
  absl::StatusOr<Process> three = Attach();
  ASSERT_TRUE(three.ok()) << three.status();
  for (int i = 0; i < 3; ++i) {
    const absl::Status refused = Attach().status();
    EXPECT_THAT(refused, Says(StatusCode::kResourceExhausted, "limit of 3 processes"));
    EXPECT_THAT(refused, Says(StatusCode::kResourceExhausted, "--max-processes"));
  }
  ExpectLinked(one, two);
  three = absl::CancelledError("left");
  EXPECT_TRUE(Eventually([&] { return (three = Attach()).ok(); })) << three.status();
  ExpectLinked(*three, one);
  EXPECT_TRUE(Logged("serves 3 processes of 3 (--max-processes)"));
}

TEST_F(CountedLimitsTest, AKilledProcessMakesRoomForAnother) {
  StartAgents({"--max-processes", "2"});
  ASSERT_OK_AND_TAKE(one, Attach());
  int attached[2];
  ASSERT_EQ(pipe(attached), 0);
  const pid_t child = fork();
  if (child == 0) {
    const absl::StatusOr<Process> process = Attach();
    if (write(attached[1], process.ok() ? "y" : "n", 1) != 1) _exit(1);
    pause();
  }
  char answer = '?';
  ASSERT_EQ(read(attached[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  EXPECT_THAT(Attach().status(), Says(StatusCode::kResourceExhausted, "--max-processes"));
  kill(child, SIGKILL);
  absl::StatusOr<Process> next = absl::UnknownError("");
  EXPECT_TRUE(Eventually([&] { return (next = Attach()).ok(); })) << next.status();
  ExpectLinked(*next, one);
}

TEST_F(CountedLimitsTest, AnAgentWithoutDescriptorsSaysSoToWhoAttachesAndThenTakesThem) {
  StartAgents({});
  ASSERT_OK_AND_TAKE(one, Attach());
  ASSERT_OK_AND_TAKE(two, Attach());
  const pid_t agent = cluster_->Proper("alpha");
  // From none left to as many as it needs: it fails at each place once.
  for (size_t left = 0; left < 8; ++left) {
    absl::StatusOr<Process> refused = absl::UnknownError("");
    {
      const DescriptorLimit few(agent, LimitThatLeaves(agent, left));
      refused = Attach();
      EXPECT_TRUE(
          refused.ok() ||
          testing::Value(refused.status(), Says(StatusCode::kResourceExhausted, "RLIMIT_NOFILE")))
          << refused.status() << " with " << left << " left";
      if (left == 0) {
        EXPECT_FALSE(refused.ok());
      }
    }
    absl::StatusOr<Process> attached = absl::UnknownError("");
    EXPECT_TRUE(Eventually([&] { return (attached = Attach()).ok(); })) << attached.status();
    ExpectLinked(*attached, one);
  }
  ExpectLinked(one, two);
  EXPECT_TRUE(cluster_->FirstAgentRuns("alpha"));
}

TEST_F(CountedLimitsTest, TheAgentSaysWhenItsDescriptorsAreNearlyUsedUp) {
  StartAgents({});
  const pid_t agent = cluster_->Proper("alpha");
  const DescriptorLimit few(agent, 200);
  EXPECT_EQ(Log().find("RLIMIT_NOFILE"), std::string::npos);
  ASSERT_OK_AND_TAKE(one, Attach());
  std::vector<Process> processes;
  while (OpenDescriptors(agent) < 185) {
    ASSERT_OK_AND_TAKE(process, Attach());
    processes.push_back(std::move(process));
  }
  EXPECT_TRUE(Logged("descriptors of 200 (RLIMIT_NOFILE): raise that"));
  ExpectLinked(processes.back(), one);
}

TEST_F(CountedLimitsTest, AProgramWithoutDescriptorsCannotConnectButStaysAttached) {
  StartAgents({});
  ASSERT_OK_AND_TAKE(one, Attach());
  ASSERT_OK_AND_TAKE(two, Attach());
  ASSERT_OK_AND_TAKE(before, one.Connect(one.id()));
  for (size_t left = 0; left < 7; ++left) {
    ASSERT_OK_AND_TAKE(three, Attach());
    const std::string mailbox = "q" + std::to_string(left);
    ASSERT_OK(two.CreateMailbox(mailbox));
    {
      const DescriptorLimit few(getpid(), LimitThatLeaves(getpid(), left));
      for (const absl::Status& status :
           {one.Connect(two.id()).status(), one.ConnectMailbox(mailbox).status()}) {
        if (left < 5) {
          EXPECT_THAT(status, Says(StatusCode::kResourceExhausted, "RLIMIT_NOFILE"));
        }
      }
      // What it has it uses.
      EXPECT_OK(before.Send("still here", {}, Patience()));
      EXPECT_TRUE(one.inbox().Receive(Patience()).ok());
      const absl::Status refused = Attach().status();
      EXPECT_TRUE(refused.ok() ||
                  testing::Value(refused, Says(StatusCode::kResourceExhausted, "RLIMIT_NOFILE")))
          << refused << " with " << left << " left";
      if (left == 0) {
        EXPECT_FALSE(refused.ok());
      }
    }
    ExpectLinked(one, three);
    EXPECT_OK(one.ConnectMailbox(mailbox).status());
  }
}

TEST_F(CountedLimitsTest, AProgramWithoutMappingsCannotConnectButStaysAttached) {
  StartAgents({});
  ASSERT_OK_AND_TAKE(one, Attach());
  ASSERT_OK_AND_TAKE(two, Attach());
  std::vector<void*> pages;
  pages.reserve(100000);
  while (true) {
    void* const page = mmap(nullptr, 4096, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) break;
    pages.push_back(page);
  }
  // A few for whatever else there is.
  for (int i = 0; i < 3; ++i) {
    munmap(pages.back(), 4096);
    pages.pop_back();
  }
  const absl::Status refused = one.Connect(two.id()).status();
  for (void* const page : pages) munmap(page, 4096);
  EXPECT_GT(pages.size(), 10000u);
  EXPECT_THAT(refused, Says(StatusCode::kResourceExhausted, "vm.max_map_count"));
  ExpectLinked(one, two);
}

}  // namespace
}  // namespace mailrail
