// When the shared memory that the agent may give is used up, senders are told so and live; and they
// go on when there is some again.
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <future>

#include "tests/fault/limited_agent.h"

namespace mailrail {
namespace {

using absl::StatusCode;

class MemoryLimitsTest : public LimitedAgentTest {
 protected:
  static constexpr size_t kBytes = 100000;

  // Sends until there is no room for a while; how many, and the error in *full.
  static uint64_t Fill(Sender& sender, absl::Status* full, size_t bytes = kBytes) {
    const std::string body(bytes, 'x');
    for (uint64_t sent = 0;; ++sent) {
      *full = sender.Send(body, {}, absl::Now() + absl::Milliseconds(300));
      if (!full->ok()) return sent;
    }
  }
  static void Receive(Receiver& receiver, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const absl::StatusOr<Message> message = receiver.Receive(Patience());
      ASSERT_TRUE(message.ok()) << message.status() << " after " << i << " of " << count;
    }
  }
};

TEST_F(MemoryLimitsTest, ASenderThatUsesItUpIsToldSoAndGoesOnWhenSomeIsReceived) {
  StartAgents({"--memory-bytes", "16M"});
  ASSERT_OK_AND_TAKE(receiver, Attach());
  ASSERT_OK_AND_TAKE(sender, Attach());
  ASSERT_OK_AND_TAKE(lane, sender.Connect(receiver.id()));
  absl::Status full;
  // The lane itself would hold 128 MiB.
  const uint64_t sent = Fill(lane, &full);
  EXPECT_THAT(full, Says(StatusCode::kDeadlineExceeded, "no shared memory is left"));
  EXPECT_THAT(full, Says(StatusCode::kDeadlineExceeded, "--memory-bytes"));
  EXPECT_GT(sent * kBytes, 8u << 20);
  EXPECT_LE(sent * kBytes, 16u << 20);
  EXPECT_LE(BytesOf(sender.id()), 16u << 20);
  EXPECT_GT(BytesOf(sender.id()), 8u << 20);
  EXPECT_GE(RowOf(sender.id()).at("memory_limit_bytes").get<uint64_t>(), 8u << 20);
  EXPECT_TRUE(Logged("or raise --memory-bytes"));
  // Small messages have their room.
  EXPECT_OK(lane.Send("small", {}, absl::InfinitePast()));
  Receive(receiver.inbox(), 1);
  EXPECT_OK(lane.Send(std::string(kBytes, 'x'), {}, Patience()));
  Receive(receiver.inbox(), sent + 1);
}

TEST_F(MemoryLimitsTest, OneThatWaitsForMemoryGoesOnWhenThereIsSome) {
  StartAgents({"--memory-bytes", "16M"});
  ASSERT_OK_AND_TAKE(receiver, Attach());
  absl::StatusOr<Process> other = Attach();
  ASSERT_OK(other.status());
  ASSERT_OK_AND_TAKE(sender, Attach());
  absl::StatusOr<Sender> from_other = other->Connect(receiver.id());
  ASSERT_OK(from_other.status());
  ASSERT_OK_AND_TAKE(lane, sender.Connect(receiver.id()));
  absl::Status full;
  const uint64_t sent = Fill(*from_other, &full);
  // What is left is not enough for this one.
  const std::string body(4 << 20, 'x');
  EXPECT_THAT(lane.Send(body, {}, absl::Now() + absl::Milliseconds(100)),
              Says(StatusCode::kDeadlineExceeded, "--memory-bytes"));
  auto waiting = std::async(std::launch::async, [&] { return lane.Send(body, {}, Patience()); });
  // The other leaves, and what it has sent is received.
  from_other = absl::CancelledError("it leaves");
  other = absl::CancelledError("it leaves");
  Receive(receiver.inbox(), sent);
  EXPECT_OK(waiting.get());
  Receive(receiver.inbox(), 1);
}

TEST_F(MemoryLimitsTest, AMailboxThatRejectsSaysThatMemoryIsTheReason) {
  StartAgents({"--memory-bytes", "16M"});
  ASSERT_OK_AND_TAKE(process, Attach());
  MailboxOptions options;
  options.when_full = FullPolicy::kReject;
  ASSERT_OK(process.CreateMailbox("q", options));
  ASSERT_OK_AND_TAKE(sender, process.ConnectMailbox("q"));
  const std::string body(kBytes, 'x');
  absl::Status status;
  uint64_t sent = 0;
  // The agent gives more when it is asked, until there is no more.
  while (sent * kBytes < 12u << 20 || status.ok()) {
    status = sender.Send(body, {}, absl::InfiniteFuture());
    sent += status.ok();
    if (!status.ok()) {
      ASSERT_THAT(status, Says(StatusCode::kResourceExhausted, "--memory-bytes"));
    }
  }
  ASSERT_OK_AND_TAKE(receiver, process.OpenMailbox("q"));
  Receive(receiver, sent);
  EXPECT_OK(sender.Send(body, {}, absl::InfiniteFuture()));
}

TEST_F(MemoryLimitsTest, SmallMessagesToAMailboxAreBoundedByMemoryToo) {
  StartAgents({"--memory-bytes", "16M", "--process-memory-bytes", "1M"});
  ASSERT_OK_AND_TAKE(process, Attach());
  ASSERT_OK(process.CreateMailbox("q"));
  ASSERT_OK_AND_TAKE(sender, process.ConnectMailbox("q"));
  absl::Status full;
  const uint64_t sent = Fill(sender, &full, 10);
  EXPECT_THAT(full, Says(StatusCode::kDeadlineExceeded, "of its 1.0 MiB"));
  EXPECT_THAT(full, Says(StatusCode::kDeadlineExceeded, "--process-memory-bytes"));
  EXPECT_GT(sent, 1000u);
  EXPECT_LT(sent, kDefaultCapacityMessages);
  EXPECT_LE(BytesOf(process.id()), 1u << 20);
  ASSERT_OK_AND_TAKE(receiver, process.OpenMailbox("q"));
  Receive(receiver, 1);
  EXPECT_OK(sender.Send("one more", {}, absl::InfinitePast()));
  Receive(receiver, sent);
  EXPECT_OK(sender.Send("and another", {}, absl::InfinitePast()));
}

TEST_F(MemoryLimitsTest, AClaimIsRefusedForWantOfMemoryAndWorksWhenThereIsSome) {
  StartAgents({"--memory-bytes", "16M", "--process-memory-bytes", "1M"});
  ASSERT_OK_AND_TAKE(process, Attach());
  ASSERT_OK_AND_TAKE(sender, process.Connect(process.id()));
  absl::optional<ClaimedMessage> held;
  {
    // It waits until the agent has given more than a process gets at first.
    ASSERT_OK_AND_TAKE(claim, sender.Claim(800000, {}, Patience()));
    held.emplace(std::move(claim));
  }
  const absl::Status refused = sender.Claim(800000, {}, absl::InfinitePast()).status();
  EXPECT_THAT(refused, Says(StatusCode::kDeadlineExceeded, "--process-memory-bytes"));
  held.reset();
  ASSERT_OK_AND_TAKE(again, sender.Claim(800000, {}, absl::InfinitePast()));
  ASSERT_OK(again.Commit(absl::InfinitePast()));
  Receive(process.inbox(), 1);
}

TEST_F(MemoryLimitsTest, ConnectRefusesALaneWithoutRoomForItsFirstStepUntilAnotherHasEnded) {
  StartAgents({"--process-memory-bytes", "64K"});
  ASSERT_OK_AND_TAKE(process, Attach());
  std::vector<Process> peers;
  std::vector<Sender> senders;
  absl::Status refused;
  while (refused.ok()) {
    ASSERT_LT(peers.size(), 20u);
    ASSERT_OK_AND_TAKE(peer, Attach());
    peers.push_back(std::move(peer));
    absl::StatusOr<Sender> sender = process.Connect(peers.back().id());
    refused = sender.status();
    if (sender.ok()) senders.push_back(*std::move(sender));
  }
  EXPECT_THAT(refused, Says(StatusCode::kResourceExhausted, "of its 64.0 KiB"));
  EXPECT_THAT(refused, Says(StatusCode::kResourceExhausted, "--process-memory-bytes"));
  ASSERT_GE(senders.size(), 3u);
  // Those that are there work.
  ASSERT_OK(senders[0].Send("body", {}, absl::InfinitePast()));
  Receive(peers[0].inbox(), 1);
  // A peer that leaves takes its link with it.
  senders.erase(senders.begin() + 1, senders.begin() + 3);
  peers.erase(peers.begin() + 1, peers.begin() + 3);
  absl::StatusOr<Sender> connected = refused;
  EXPECT_TRUE(Eventually([&] {
    (void)process.inbox().TryReceive();
    connected = process.Connect(peers.back().id());
    return connected.ok();
  })) << connected.status();
  ASSERT_OK(connected->Send("body", {}, absl::InfinitePast()));
  Receive(peers.back().inbox(), 1);
}

TEST_F(MemoryLimitsTest, ConnectToAMailboxIsRefusedUntilAnotherMailboxIsDestroyed) {
  StartAgents({"--process-memory-bytes", "600K"});
  ASSERT_OK_AND_TAKE(process, Attach());
  ASSERT_OK(process.CreateMailbox("one"));
  ASSERT_OK(process.CreateMailbox("two"));
  {
    ASSERT_OK_AND_TAKE(one, process.ConnectMailbox("one"));
    ASSERT_OK(one.Send("body", {}, absl::InfinitePast()));
    EXPECT_THAT(process.ConnectMailbox("two").status(),
                Says(StatusCode::kResourceExhausted, "a lane to mailbox two"));
  }
  ASSERT_OK(process.DestroyMailbox("one"));
  ASSERT_OK_AND_TAKE(two, process.ConnectMailbox("two"));
  EXPECT_OK(two.Send("body", {}, absl::InfinitePast()));
}

TEST_F(MemoryLimitsTest, WhatADeadSenderHasLeftCountsUntilItIsReceived) {
  StartAgents({"--memory-bytes", "16M"});
  ASSERT_OK_AND_TAKE(receiver, Attach());
  ASSERT_OK(receiver.CreateMailbox("q"));
  absl::Status full;
  uint64_t sent = 0;
  {
    ASSERT_OK_AND_TAKE(ends, Attach());
    ASSERT_OK_AND_TAKE(lane, ends.ConnectMailbox("q"));
    sent = Fill(lane, &full);
  }
  ASSERT_GT(sent, 50u);
  ASSERT_OK_AND_TAKE(next, Attach());
  const absl::StatusOr<Sender> early = next.ConnectMailbox("q");
  absl::Status refused = early.status();
  if (early.ok()) {
    absl::StatusOr<Sender> connected = next.ConnectMailbox("q");
    refused = connected->Send(std::string(4 << 20, 'x'), {}, absl::InfinitePast());
  }
  EXPECT_NE(std::string(refused.message()).find("--memory-bytes"), std::string::npos) << refused;
  ASSERT_OK_AND_TAKE(opened, receiver.OpenMailbox("q"));
  Receive(opened, sent);
  absl::Status status;
  EXPECT_TRUE(Eventually([&] {
    absl::StatusOr<Sender> lane = next.ConnectMailbox("q");
    status = lane.status();
    if (lane.ok()) status = lane->Send(std::string(4 << 20, 'x'), {}, absl::InfinitePast());
    return status.ok();
  })) << status;
}

TEST_F(MemoryLimitsTest, TheAgentsOwnLanesHaveALimitToo) {
  StartAgents({"--memory-bytes", "8M"});
  ASSERT_OK_AND_TAKE(process, Attach());
  ASSERT_OK(process.CreateMailbox("q"));
  const std::string body(kBytes, 'x');
  const auto post = [&] {
    return RunMailrail(
        {"send", "q", body, "--timeout", "1", "--socket", cluster_->Socket("alpha")});
  };
  uint64_t sent = 0;
  ProgramRun run = post();
  for (; run.exit_code == 0; run = post()) ASSERT_LT(++sent * kBytes, 8u << 20);
  EXPECT_EQ(run.exit_code, 4) << run.output;
  EXPECT_GT(sent, 20u);
  ASSERT_OK_AND_TAKE(receiver, process.OpenMailbox("q"));
  Receive(receiver, sent);
  run = post();
  EXPECT_EQ(run.exit_code, 0) << run.output;
  Receive(receiver, 1);
}

TEST_F(MemoryLimitsTest, BetweenNodesNothingIsLostForWantOfMemory) {
  StartAgents({"--memory-bytes", "8M"}, {"alpha", "beta"});
  ASSERT_OK_AND_TAKE(receiver, Attach("beta"));
  ASSERT_OK_AND_TAKE(sender, Attach("alpha"));
  ASSERT_OK_AND_TAKE(lane, sender.Connect(receiver.id()));
  constexpr uint64_t kCount = 400;
  auto sent = std::async(std::launch::async, [&lane = lane] {
    for (uint64_t i = 0; i < kCount; ++i) {
      std::string body(kBytes, 'x');
      body.replace(0, 8, reinterpret_cast<const char*>(&i), 8);
      const absl::Status status = lane.Send(body, {}, Patience());
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  });
  for (uint64_t i = 0; i < kCount; ++i) {
    const absl::StatusOr<Message> message = receiver.inbox().Receive(Patience());
    ASSERT_TRUE(message.ok()) << message.status() << " after " << i;
    uint64_t number = 0;
    memcpy(&number, message->body().data(), sizeof(number));
    ASSERT_EQ(number, i);
  }
  EXPECT_OK(sent.get());
}

TEST_F(MemoryLimitsTest, AnAgentThatIsStartedAgainKnowsWhatIsUsed) {
  StartAgents({"--memory-bytes", "16M"});
  ASSERT_OK_AND_TAKE(receiver, Attach());
  ASSERT_OK_AND_TAKE(sender, Attach());
  ASSERT_OK_AND_TAKE(lane, sender.Connect(receiver.id()));
  absl::Status full;
  const uint64_t sent = Fill(lane, &full);
  cluster_->KillProper("alpha");
  const uint64_t more = Fill(lane, &full);
  EXPECT_THAT(full, Says(StatusCode::kDeadlineExceeded, "--memory-bytes"));
  EXPECT_LE((sent + more) * kBytes, 16u << 20);
  Receive(receiver.inbox(), sent + more);
  EXPECT_OK(lane.Send(std::string(kBytes, 'x'), {}, Patience()));
}

// A memory cgroup of the test's own, of version 1 or 2; none where it may not make one.
class TestCgroup {
 public:
  TestCgroup() {
    std::ifstream cgroups("/proc/self/cgroup");
    for (std::string line; std::getline(cgroups, line);) {
      const size_t one = line.find(':'), two = line.find(':', one + 1);
      const std::string controllers = line.substr(one + 1, two - one - 1);
      const std::string path = line.substr(two + 1) == "/" ? "" : line.substr(two + 1);
      if (controllers == "memory") Make("/sys/fs/cgroup/memory" + path, "memory.limit_in_bytes");
      if (controllers.empty()) Make("/sys/fs/cgroup" + path, "memory.max");
    }
  }
  ~TestCgroup() {
    if (!folder_.empty()) rmdir(folder_.c_str());
  }

  bool there() const { return !folder_.empty(); }
  // The calling process is in it from now on.
  bool Join() const { return Write("cgroup.procs", "0"); }

  static constexpr uint64_t kLimit = uint64_t{96} << 20;

 private:
  void Make(const std::string& parent, const std::string& limit) {
    if (there()) return;
    folder_ = parent + "/mailrail-test-" + std::to_string(getpid());
    if (mkdir(folder_.c_str(), 0755) == 0 && Write(limit, std::to_string(kLimit))) return;
    rmdir(folder_.c_str());
    folder_.clear();
  }
  bool Write(const std::string& file, const std::string& text) const {
    std::ofstream out(folder_ + "/" + file);
    return static_cast<bool>(out << text << std::flush);
  }

  std::string folder_;
};

TEST_F(MemoryLimitsTest, ASenderThatWouldExceedTheLimitOfItsCgroupGetsAnErrorAndLives) {
  const TestCgroup cgroup;
  // Without one, the agent is told so small a part that the same happens.
  const std::string why = cgroup.there() ? "memory limit of its cgroup" : "--memory-bytes";
  StartAgents(cgroup.there() ? std::vector<std::string>()
                             : std::vector<std::string>{"--memory-bytes", "48M"});
  std::cerr << (cgroup.there() ? "in a cgroup" : "without a cgroup") << std::endl;
  ASSERT_OK_AND_TAKE(receiver, Attach());
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (cgroup.there() && !cgroup.Join()) _exit(2);
    absl::StatusOr<Process> process = Attach();
    if (!process.ok()) _exit(3);
    absl::StatusOr<Sender> lane = process->Connect(receiver.id());
    if (!lane.ok()) _exit(4);
    absl::Status full;
    uint64_t sent = Fill(*lane, &full);
    if (std::string(full.message()).find(why) == std::string::npos) _exit(5);
    // It lives, and sends when there is room.
    if (write(told[1], &sent, sizeof(sent)) != sizeof(sent)) _exit(6);
    _exit(lane->Send("last", {}, Patience()).ok() && sent > 0 ? 0 : 7);
  }
  uint64_t sent = 0;
  ASSERT_EQ(read(told[0], &sent, sizeof(sent)), static_cast<ssize_t>(sizeof(sent)));
  EXPECT_GT(sent * kBytes, 16u << 20);
  EXPECT_LE(sent * kBytes, TestCgroup::kLimit / 2);
  Receive(receiver.inbox(), sent + 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
}

}  // namespace
}  // namespace mailrail
