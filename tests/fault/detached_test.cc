// A process that is detached, by whatever way, is told so by all that it calls: nothing is sent to
// nobody, and no message is missed in silence.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"

namespace mailrail {
namespace {

absl::StatusOr<Process> AttachTo(const Cluster& cluster) {
  AttachOptions options;
  options.socket = cluster.Socket("alpha");
  options.autostart = false;
  return Process::Attach(options);
}

// Sends until it is an error, and takes what arrives, so that it is not for want of room.
absl::Status SendUntilItFails(Sender& sender, Receiver& receiver) {
  const absl::Time give_up = Patience();
  while (absl::Now() < give_up) {
    if (absl::Status status = sender.Send("x", {}, Patience()); !status.ok()) return status;
    (void)receiver.TryReceive();
  }
  return absl::OkStatus();
}

class DetachedTest : public ::testing::Test {
 protected:
  void Start(Agents agents) {
    auto cluster = Cluster::Start({"alpha"}, agents);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
  }

  // Runs `body` in a program of its own, which returns whether all was as it should be.
  static void InChild(const std::function<bool()>& body) {
    fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) _exit(body() ? 0 : 1);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
  }

  static bool IsAborted(const absl::Status& status, const char* word) {
    if (absl::IsAborted(status) && status.message().find(word) != std::string::npos) return true;
    std::fprintf(stderr, "not aborted with the word %s: %s\n", word, status.ToString().c_str());
    return false;
  }

  std::unique_ptr<Cluster> cluster_;
};

TEST_F(DetachedTest, SendsFailOnceAgentAndKeeperWereKilled) {
  for (const Agents agents : {Agents::kAlone, Agents::kKept}) {
    Start(agents);
    auto a = AttachTo(*cluster_);
    auto b = AttachTo(*cluster_);
    ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
    ASSERT_TRUE(a->CreateMailbox("q").ok());
    auto direct = a->Connect(b->id());
    auto mailbox = a->ConnectMailbox("q");
    auto receiver = b->OpenMailbox("q");
    ASSERT_TRUE(direct.ok() && mailbox.ok() && receiver.ok());
    ASSERT_TRUE(direct->Send("x").ok() && mailbox->Send("x").ok());
    cluster_->Kill("alpha");
    EXPECT_TRUE(absl::IsAborted(SendUntilItFails(*direct, b->inbox())));
    EXPECT_TRUE(absl::IsAborted(SendUntilItFails(*mailbox, *receiver)));
    EXPECT_TRUE(absl::IsAborted(direct->SendBatch({"a", "b"}, {}, Patience()).status()));
  }
}

TEST_F(DetachedTest, ASenderThatWaitsForRoomReturnsWhenAgentAndKeeperAreKilled) {
  Start(Agents::kKept);
  auto a = AttachTo(*cluster_);
  MailboxOptions options;
  options.capacity_messages = 1;
  ASSERT_TRUE(a->CreateMailbox("q", options).ok());
  auto mailbox = a->ConnectMailbox("q");
  ASSERT_TRUE(mailbox.ok() && mailbox->Send("x").ok());
  cluster_->Kill("alpha");
  EXPECT_TRUE(absl::IsAborted(mailbox->Send("y")));
}

TEST_F(DetachedTest, AProcessThatClosedItsDescriptorsIsToldByEveryCall) {
  Start(Agents::kAlone);
  auto witness = AttachTo(*cluster_);
  ASSERT_TRUE(witness.ok() && witness->CreateMailbox("q").ok());
  InChild([&] {
    auto process = AttachTo(*cluster_);
    auto direct = process->Connect(witness->id());
    auto mailbox = process->ConnectMailbox("q");
    auto receiver = process->OpenMailbox("q");
    if (!direct.ok() || !mailbox.ok() || !receiver.ok() || !mailbox->Send("x").ok()) return false;
    for (int fd = 3; fd < 1024; ++fd) close(fd);
    return IsAborted(SendUntilItFails(*direct, process->inbox()), "detached") &&
           IsAborted(SendUntilItFails(*mailbox, *receiver), "detached") && Eventually([&] {
             return absl::IsAborted(process->inbox().TryReceive().status()) &&
                    absl::IsAborted(receiver->TryReceive().status());
           }) &&
           IsAborted(process->inbox().Receive().status(), "detached") &&
           IsAborted(receiver->Receive().status(), "detached");
  });
}

TEST_F(DetachedTest, AReceiverWithoutDescriptorsForASendersLaneSaysSo) {
  Start(Agents::kAlone);
  auto sender = AttachTo(*cluster_);
  ASSERT_TRUE(sender.ok() && sender->CreateMailbox("q").ok());
  for (const bool direct : {true, false}) {
    int ready[2], sent[2];
    ASSERT_TRUE(pipe(ready) == 0 && pipe(sent) == 0);
    fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      auto process = AttachTo(*cluster_);
      auto receiver = process->OpenMailbox("q");
      if (!receiver.ok() || !process->RegisterName("starved").ok()) _exit(2);
      rlimit limit{};
      getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = 3;
      setrlimit(RLIMIT_NOFILE, &limit);
      char byte = 'x';
      (void)!write(ready[1], &byte, 1);
      (void)!read(sent[0], &byte, 1);
      const absl::StatusOr<Message> message =
          direct ? process->inbox().Receive(Patience()) : receiver->Receive(Patience());
      _exit(IsAborted(message.status(), "RLIMIT_NOFILE") ? 0 : 1);
    }
    char byte;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    auto channel = direct ? sender->Connect("starved") : sender->ConnectMailbox("q");
    EXPECT_TRUE(channel.ok()) << channel.status();
    if (channel.ok()) channel->Send("x").IgnoreError();
    ASSERT_EQ(write(sent[1], "x", 1), 1);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
    for (const int fd : {ready[0], ready[1], sent[0], sent[1]}) close(fd);
  }
}

}  // namespace
}  // namespace mailrail
