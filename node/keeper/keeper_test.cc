// Real keepers and agents: its arguments say which of test, keeper and agent this program is.
#include "node/keeper/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/fd.h"
#include "core/base/seqpacket.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/keeper/spawn.h"
#include "node/keeper/test_agent.h"

namespace mailrail {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

Fd FileWith(absl::string_view content) {
  Fd fd(memfd_create("keeper_test", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  return fd;
}

class KeeperTest : public testing::Test {
 protected:
  void SetUp() override {
    // Agents and keepers that lose their parent become children of this process.
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    absl::StatusOr<std::pair<Fd, Fd>> sockets = SeqpacketPair();
    ASSERT_TRUE(sockets.ok());
    control_ = std::move(sockets->first);
    agent_end_ = std::move(sockets->second);
  }

  // Whatever still runs ends when the control socket does.
  void TearDown() override { WaitForAll(); }

  // Starts a keeper with a test agent. `prefix` are arguments before "keeper".
  void StartTestKeeper(const std::vector<std::string>& keeper_args = {},
                       const std::vector<std::string>& agent_args = {},
                       const std::vector<std::string>& prefix = {},
                       std::vector<int> passed_fds = {}) {
    std::vector<std::string> argv = {"keeper_test"};
    argv.insert(argv.end(), prefix.begin(), prefix.end());
    argv.push_back("keeper");
    argv.insert(argv.end(), keeper_args.begin(), keeper_args.end());
    argv.insert(argv.end(),
                {"--", "keeper_test", "agent", absl::StrCat("--control-fd=", agent_end_.get())});
    argv.insert(argv.end(), agent_args.begin(), agent_args.end());
    passed_fds.push_back(agent_end_.get());
    absl::StatusOr<pid_t> pid = SpawnSelf(argv, passed_fds);
    ASSERT_TRUE(pid.ok()) << pid.status();
    keeper_pid_ = *pid;
    agent_end_.Reset();
  }

  // What the agent says next; "gone" when there is none any more.
  std::string Receive() {
    absl::StatusOr<Packet> packet = ReceivePacket(control_.get(), /*wait=*/true);
    return packet.ok() ? packet->bytes : "gone";
  }

  void Tell(absl::string_view command, absl::Span<const int> fds = {}) {
    EXPECT_TRUE(SendPacket(control_.get(), command, fds).ok());
  }

  std::string Ask(absl::string_view command, absl::Span<const int> fds = {}) {
    Tell(command, fds);
    return Receive();
  }

  // Waits for an agent's start; returns its pid.
  pid_t ReceiveStart(int records) {
    const std::string text = Receive();
    const std::vector<std::string> words = absl::StrSplit(text, ' ');
    pid_t pid = 0;
    EXPECT_TRUE(words.size() == 3 && words[0] == "started" && absl::SimpleAtoi(words[1], &pid))
        << text;
    EXPECT_EQ(words.back(), absl::StrCat(records));
    return pid;
  }

  static void Kill(pid_t pid) {
    ASSERT_GT(pid, 0);
    ASSERT_EQ(kill(pid, SIGKILL), 0);
  }

  // Stops the keeper; returns when it has stopped.
  void StopKeeper() {
    ASSERT_EQ(kill(keeper_pid_, SIGSTOP), 0);
    ASSERT_EQ(waitpid(keeper_pid_, nullptr, WUNTRACED), keeper_pid_);
  }

  static void WaitForEnd(const Fd& pid_fd) {
    pollfd end = {.fd = pid_fd.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&end, 1, -1), 1);
  }

  // The living keeper that an agent has started: by then it is a child of this process. 0 when
  // there is none.
  static pid_t FindAdoptingKeeper() {
    std::ifstream children(absl::StrCat("/proc/self/task/", gettid(), "/children"));
    pid_t pid;
    while (children >> pid) {
      std::ifstream file(absl::StrCat("/proc/", pid, "/cmdline"));
      // By getline, which does not throw when the process ends before it is read.
      std::string arguments;
      std::getline(file, arguments);
      if (absl::StrContains(arguments, "--adopt-pid-fd=")) return pid;
    }
    ADD_FAILURE() << "no such keeper";
    return 0;
  }

  // Waits for the keeper that the test started; returns its exit code, 128 + n for signal n.
  int WaitForKeeper() {
    int status = 0;
    EXPECT_EQ(waitpid(keeper_pid_, &status, 0), keeper_pid_);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  // Ends the test's part and waits for all processes that became children of this one; returns
  // their statuses as waitpid gives them.
  std::map<pid_t, int> WaitForAll() {
    control_.Reset();
    std::map<pid_t, int> statuses;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, 0)) > 0) statuses[pid] = status;
    return statuses;
  }

  Fd control_;
  Fd agent_end_;
  pid_t keeper_pid_ = -1;
};

TEST_F(KeeperTest, RecordsSurviveTheAgentIncludingOnePutJustBeforeItsDeath) {
  StartTestKeeper();
  const pid_t first = ReceiveStart(0);
  const Fd one = FileWith("one");
  const Fd two = FileWith("two");
  EXPECT_EQ(Ask("put a 1", {one.get(), two.get()}), "OK");
  Tell("put-and-die b 2", {two.get()});
  EXPECT_NE(ReceiveStart(2), first);
  EXPECT_EQ(Ask("list"), "a=1[onetwo] b=2[two] ");
}

TEST_F(KeeperTest, EveryPutThatStillStandsInTheQueueIsKept) {
  for (bool with_unread_reply : {false, true}) {
    StartTestKeeper();
    absl::StatusOr<Fd> agent = OpenPidFd(ReceiveStart(0));
    ASSERT_TRUE(agent.ok()) << agent.status();
    if (with_unread_reply) {
      EXPECT_EQ(Ask("ask-without-reading"), "OK");
    }
    StopKeeper();
    Tell("send-and-die 100");
    WaitForEnd(*agent);
    kill(keeper_pid_, SIGCONT);
    ReceiveStart(100);
    EXPECT_EQ(Ask("check-many 100 0"), "OK");
    SetUp();
  }
}

TEST_F(KeeperTest, ValueIsReplacedAndDescriptorsStay) {
  StartTestKeeper();
  ReceiveStart(0);
  const Fd file = FileWith("file");
  EXPECT_EQ(Ask("put key old", {file.get()}), "OK");
  EXPECT_EQ(Ask("put other old", {file.get()}), "OK");
  EXPECT_EQ(Ask("put-value key new"), "OK");
  EXPECT_EQ(Ask("drop other"), "OK");
  EXPECT_EQ(Ask("list"), "key=new[file] ");
  EXPECT_THAT(Ask("put-value other new"), StartsWith("NOT_FOUND"));
}

TEST_F(KeeperTest, ThousandsOfRecordsWithDescriptorsSurviveTheAgent) {
  // Keeper and agent need a descriptor each for every one of 15,000, if the system allows that.
  rlimit files;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  const rlim_t records = std::min<rlim_t>(5000, (files.rlim_max - 100) / 3);
  StartTestKeeper();
  const pid_t first = ReceiveStart(0);
  EXPECT_EQ(Ask(absl::StrCat("put-many ", records, " 3")), "OK");
  EXPECT_EQ(Ask(absl::StrCat("check-many ", records, " 3")), "OK");
  Kill(first);
  ReceiveStart(static_cast<int>(records));
}

TEST_F(KeeperTest, AgentOfAKilledKeeperStartsAnotherThatKeepsEverything) {
  StartTestKeeper();
  const pid_t agent = ReceiveStart(0);
  const Fd file = FileWith("file");
  EXPECT_EQ(Ask("put a 1", {file.get()}), "OK");
  Kill(keeper_pid_);
  EXPECT_EQ(Receive(), "adopted");
  EXPECT_EQ(Ask("put b 2", {file.get()}), "OK");
  Kill(agent);
  const pid_t second = ReceiveStart(2);
  EXPECT_NE(second, agent);
  EXPECT_EQ(Ask("list"), "a=1[file] b=2[file] ");
  Kill(second);
  ReceiveStart(2);
}

TEST_F(KeeperTest, AdoptedAgentThatLeavesIsNotStartedAgainAndItsCodeIsPassedOn) {
  StartTestKeeper();
  const pid_t agent = ReceiveStart(0);
  Kill(keeper_pid_);
  EXPECT_EQ(Receive(), "adopted");
  Tell("leave 5");
  EXPECT_EQ(Receive(), "gone");
  std::map<pid_t, int> statuses = WaitForAll();
  EXPECT_EQ(statuses.size(), 3u);
  for (auto [pid, status] : statuses) {
    if (pid == keeper_pid_) continue;
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 5) << (pid == agent ? "agent" : "second keeper");
  }
}

TEST_F(KeeperTest, KeepersAreReplacedAgainAndAgain) {
  StartTestKeeper();
  ReceiveStart(0);
  const Fd file = FileWith("file");
  EXPECT_EQ(Ask("put a 1", {file.get()}), "OK");
  Kill(keeper_pid_);
  EXPECT_EQ(Receive(), "adopted");
  for (int round = 0; round < 5; ++round) {
    Kill(FindAdoptingKeeper());
    EXPECT_EQ(Receive(), "adopted");
  }
  EXPECT_EQ(Ask("list"), "a=1[file] ");
}

TEST_F(KeeperTest, TerminationIsPassedOnAndTheAgentsExitCodeIsReturned) {
  for (int signal : {SIGTERM, SIGINT}) {
    StartTestKeeper();
    ReceiveStart(0);
    kill(keeper_pid_, signal);
    EXPECT_EQ(Receive(), absl::StrCat("signal ", signal));
    EXPECT_EQ(WaitForKeeper(), kTestAgentTerminated);
    EXPECT_EQ(Receive(), "gone");
    SetUp();
  }
}

TEST_F(KeeperTest, HangUpIsPassedOnAndStopsNothing) {
  StartTestKeeper();
  ReceiveStart(0);
  kill(keeper_pid_, SIGHUP);
  EXPECT_EQ(Receive(), absl::StrCat("signal ", SIGHUP));
  EXPECT_EQ(Ask("list"), "nothing");
}

TEST_F(KeeperTest, TerminationIsPassedOnToAnAdoptedAgent) {
  StartTestKeeper();
  ReceiveStart(0);
  Kill(keeper_pid_);
  EXPECT_EQ(Receive(), "adopted");
  ASSERT_EQ(kill(FindAdoptingKeeper(), SIGTERM), 0);
  EXPECT_EQ(Receive(), absl::StrCat("signal ", SIGTERM));
  EXPECT_EQ(Receive(), "gone");
}

TEST_F(KeeperTest, ConfigurationErrorOfTheFirstAgentIsPassedOn) {
  for (int code : {0, 3, 7, 9}) {
    StartTestKeeper();
    ReceiveStart(0);
    Tell(absl::StrCat("exit ", code));
    EXPECT_EQ(WaitForKeeper(), code);
    SetUp();
  }
}

TEST_F(KeeperTest, AgentThatExitsWithAnotherCodeIsStartedAgain) {
  StartTestKeeper();
  ReceiveStart(0);
  EXPECT_EQ(Ask("put a 1"), "OK");
  for (int code : {1, 13, 3, 9}) {
    Tell(absl::StrCat("exit ", code));
    ReceiveStart(1);
  }
  Tell("exit 0");
  EXPECT_EQ(WaitForKeeper(), 0);
}

TEST_F(KeeperTest, CrashingAgentIsStartedAgainAfterGrowingDelays) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  FILE* log = fdopen(fds[0], "r");
  Fd writer(fds[1]);
  StartTestKeeper(
      {"--min-backoff=1ms", "--max-backoff=5ms", "--quick-death=24h", "--forget-after=48h"},
      {"--crash"}, {"stderr-to", absl::StrCat(writer.get())}, {writer.get()});
  writer.Reset();
  for (const char* delay :
       {"at once", "at once", "at once", "in 1ms", "in 2ms", "in 4ms", "in 5ms", "in 5ms"}) {
    char line[200];
    ASSERT_NE(fgets(line, sizeof(line), log), nullptr);
    EXPECT_THAT(line, HasSubstr(absl::StrCat("killed by signal 9; it is started again ", delay)));
  }
  kill(keeper_pid_, SIGTERM);
  EXPECT_THAT(WaitForKeeper(), AnyOf(0, 128 + SIGKILL, 128 + SIGTERM));
  fclose(log);
}

TEST_F(KeeperTest, BadPacketsAreRefusedAndTheStoreStays) {
  StartTestKeeper();
  ReceiveStart(0);
  const Fd file = FileWith("file");
  EXPECT_EQ(Ask("put a 1", {file.get()}), "OK");
  EXPECT_EQ(Ask("bad-packets"), "OK");
  EXPECT_EQ(Ask("list"), "a=1[file] ");
}

TEST_F(KeeperTest, KeeperWithoutFreeDescriptorsRefusesAndTheStoreStays) {
  StartTestKeeper();
  ReceiveStart(0);
  const Fd file = FileWith("file");
  const std::vector<int> many(kMaxKeptFds, file.get());
  EXPECT_EQ(Ask("put a 1", many), "OK");
  const rlimit few = {.rlim_cur = 30, .rlim_max = 30};
  ASSERT_EQ(prlimit(keeper_pid_, RLIMIT_NOFILE, &few, nullptr), 0);
  EXPECT_THAT(Ask("put b 2", many), StartsWith("RESOURCE_EXHAUSTED"));
  EXPECT_THAT(Ask("put a 2", many), StartsWith("RESOURCE_EXHAUSTED"));
  EXPECT_THAT(Ask("list"), StartsWith("a=1[file"));
  EXPECT_EQ(Ask("drop a"), "OK");
  EXPECT_EQ(Ask("put b 2", many), "OK");
}

TEST_F(KeeperTest, OrphansAreWaitedFor) {
  StartTestKeeper({}, {}, {"subreaper"});
  ReceiveStart(0);
  EXPECT_EQ(Ask("orphan"), "OK");
  EXPECT_EQ(Ask("list"), "nothing");
}

TEST_F(KeeperTest, WrongArgumentsAreRefused) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"keeper"},
           {"keeper", "--"},
           {"keeper", "--min-backoff=soon", "--", "x"},
           {"keeper", "--adopt-pid-fd=3", "--", "x"},
           {"keeper", "--adopt-pid-fd=3000", "--store-fd=3001", "--", "x"},
           {"keeper", "--unknown", "--", "x"}}) {
    std::vector<std::string> argv = {"keeper_test"};
    argv.insert(argv.end(), args.begin(), args.end());
    absl::StatusOr<pid_t> pid = SpawnSelf(argv, {});
    ASSERT_TRUE(pid.ok()) << pid.status();
    keeper_pid_ = *pid;
    EXPECT_EQ(WaitForKeeper(), 3);
  }
}

}  // namespace
}  // namespace mailrail

int main(int argc, char** argv) {
  if (argc > 2 && strcmp(argv[1], "stderr-to") == 0) {
    dup2(atoi(argv[2]), STDERR_FILENO);
    close(atoi(argv[2]));
    argc -= 2;
    argv += 2;
  }
  if (argc > 1 && strcmp(argv[1], "subreaper") == 0) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    --argc;
    ++argv;
  }
  if (argc > 1 && strcmp(argv[1], "keeper") == 0) return mailrail::KeeperMain(argc, argv);
  if (argc > 1 && strcmp(argv[1], "agent") == 0) return mailrail::TestAgentMain(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
