// After fork() the child's copy of everything refuses with kFailedPrecondition, harms nothing, and
// the child may attach anew.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/conformance/conformance.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using ForkTest = ConformanceTest;

MAILRAIL_OVER_TRANSPORTS(ForkTest);

// What the child found wrong; it has no other way to say so.
class Findings {
 public:
  template <typename Result>
  void Refused(const Result& result, const char* call) {
    if (StatusOf(result).code() == absl::StatusCode::kFailedPrecondition) return;
    Failed(std::string(StatusOf(result).ToString()), call);
  }
  template <typename Result>
  void Ok(const Result& result, const char* call) {
    if (!StatusOf(result).ok()) Failed(std::string(StatusOf(result).ToString()), call);
  }
  int exit_code() const { return exit_code_; }

 private:
  void Failed(const std::string& status, const char* call) {
    std::fprintf(stderr, "the child's %s: %s\n", call, status.c_str());
    exit_code_ = 1;
  }
  int exit_code_ = 0;
};

// Runs `body` in a forked child; its findings fail the test.
template <typename Body>
void InChild(Body body) {
  fflush(nullptr);
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    Findings findings;
    body(findings);
    // As a program ends that returns from main.
    exit(findings.exit_code());
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
}

TEST_P(ForkTest, TheChildsCopyRefusesEveryCall) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(to_mailbox, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(to_peer, self().Connect(peer().id()));
  ASSERT_OK_AND_ASSIGN(from_peer, peer().Connect(self().id()));
  ASSERT_THAT(self().Send(to_mailbox, {{.number = 1}}), IsOk());
  ASSERT_THAT(peer().Send(from_peer, {{.number = 1}}), IsOk());
  Process& process = self().process();
  Receiver& mailbox = self().receiver(receiver);
  absl::StatusOr<ClaimedMessage> claim = self().sender(to_peer).Claim(100000);
  ASSERT_THAT(claim, IsOk());
  WaitSet set(process);
  ASSERT_THAT(set.Add(1, process.inbox()), IsOk());
  ASSERT_THAT(set.Add(2, mailbox), IsOk());
  ASSERT_THAT(set.Descriptor(), IsOk());

  InChild([&](Findings& child) {
    child.Refused(process.RegisterName("child"), "RegisterName");
    child.Refused(process.Resolve("name"), "Resolve");
    child.Refused(process.Connect(peer().id()), "Connect");
    child.Refused(process.Connect("name"), "Connect by name");
    child.Refused(process.ConnectMailbox(name), "ConnectMailbox");
    child.Refused(process.CreateMailbox("child"), "CreateMailbox");
    child.Refused(process.OpenMailbox(name), "OpenMailbox");
    child.Refused(process.DestroyMailbox(name), "DestroyMailbox");
    child.Refused(process.Watch(peer().id()), "Watch");
    child.Refused(process.Watch("name"), "Watch by name");
    child.Refused(process.WatchMailbox(name), "WatchMailbox");
    child.Refused(process.WatchNode("beta"), "WatchNode");
    child.Refused(process.Unwatch(peer().id()), "Unwatch");
    child.Refused(set.Wait(Patience()), "Wait");
    child.Refused(set.Add(3, mailbox), "Add");
    child.Refused(set.AddTimer(3, absl::Now()), "AddTimer");
    child.Refused(set.Remove(1), "Remove");
    child.Refused(set.Descriptor(), "Descriptor of a set");
    set.Wake();
    for (const Handle handle : {to_peer, to_mailbox}) {
      Sender& sender = self().sender(handle);
      child.Refused(sender.Send("a", {}, Patience()), "Send");
      child.Refused(sender.SendBatch({"a", "b"}, {}, Patience()), "SendBatch");
      child.Refused(sender.Claim(5, {}, Patience()), "Claim");
    }
    child.Refused(claim->Commit(Patience()), "Commit");
    for (Receiver* const each : {&process.inbox(), &mailbox}) {
      child.Refused(each->Receive(Patience()), "Receive");
      child.Refused(each->TryReceive(), "TryReceive");
      child.Refused(each->ReceiveBatch(3, Patience()), "ReceiveBatch");
      child.Refused(each->ReceiveFrom(peer().id(), Patience()), "ReceiveFrom");
      child.Refused(each->Descriptor(), "Descriptor");
      child.Refused(WaitAny({each}, Patience()), "WaitAny");
    }
  });

  // The parent's has lost nothing and works.
  claim->Truncate(8);
  FillBody(1, claim->body());
  EXPECT_THAT(claim->Commit(Patience()), IsOk());
  ExpectDelivered(peer().Receive(Party::kInbox, 1).messages, Numbered(1));
  ExpectDelivered(self().Receive(Party::kInbox, 1).messages, Numbered(1));
  EXPECT_THAT(set.Wait(Patience()), IsOk());
  ExpectDelivered(self().Receive(receiver, 1).messages, Numbered(1));
}

TEST_P(ForkTest, TheChildMayDestroyItsCopyAndAttachAnew) {
  ASSERT_OK_AND_ASSIGN(from_peer, peer().Connect(self().id()));
  ASSERT_OK_AND_ASSIGN(to_peer, self().Connect(peer().id()));
  const std::string name = NewName();
  ASSERT_THAT(self().RegisterName(name), IsOk());
  InChild([&](Findings& child) {
    self().End();
    auto attached = LocalParty::Attach(cluster().Socket("alpha"), nullptr);
    child.Ok(attached, "Attach");
    if (!attached.ok()) return;
    LocalParty& party = **attached;
    if (party.id() == self().id() || party.id().pid() != getpid()) {
      child.Refused(absl::OkStatus(), "identity");
    }
    const absl::StatusOr<Handle> parent = party.Connect(name);
    child.Ok(parent, "Connect to the parent");
    if (parent.ok()) child.Ok(party.Send(*parent, {{.number = 5}}), "Send to the parent");
    const absl::StatusOr<Handle> other = party.Connect(peer().id());
    child.Ok(other, "Connect to the peer");
    if (other.ok()) child.Ok(party.Send(*other, {{.number = 6}}), "Send to the peer");
  });
  const ReceiveResult parents = self().Receive(Party::kInbox, 1);
  ASSERT_THAT(parents, IsOk());
  EXPECT_EQ(parents.messages[0].number, 5u);
  const ReceiveResult peers = peer().Receive(Party::kInbox, 1);
  ASSERT_THAT(peers, IsOk());
  EXPECT_EQ(peers.messages[0].number, 6u);
  EXPECT_NE(peers.messages[0].sender, self().id());

  // What the child destroyed was its own copy.
  ASSERT_THAT(peer().Send(from_peer, {{.number = 7}}), IsOk());
  ASSERT_THAT(self().Send(to_peer, {{.number = 8}}), IsOk());
  EXPECT_THAT(self().Receive(Party::kInbox, 1), IsOk());
  EXPECT_THAT(peer().Receive(Party::kInbox, 1), IsOk());
}

TEST_P(ForkTest, WhatTheChildDestroysIsNeitherTheParentsNorItsOwn) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(from_peer, peer().Connect(self().id()));
  ASSERT_OK_AND_ASSIGN(to_peer, self().Connect(peer().id()));
  ASSERT_OK_AND_ASSIGN(to_mailbox, peer().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  // Views of large bodies, an open claim, and a thread that watches.
  constexpr size_t kLarge = 300000;
  ASSERT_THAT(peer().Send(from_peer, {{.number = 1, .bytes = kLarge}}), IsOk());
  ASSERT_THAT(peer().Send(to_mailbox, {{.number = 1, .bytes = kLarge}}), IsOk());
  absl::StatusOr<Message> direct = self().process().inbox().Receive(Patience());
  absl::StatusOr<Message> queued = self().receiver(receiver).Receive(Patience());
  ASSERT_THAT(direct, IsOk());
  ASSERT_THAT(queued, IsOk());
  absl::StatusOr<ClaimedMessage> claim = self().sender(to_peer).Claim(kLarge);
  ASSERT_THAT(claim, IsOk());
  ASSERT_THAT(self().receiver(receiver).Descriptor(), IsOk());

  InChild([&](Findings& child) {
    // What it maps itself may stand where the parent's memory stood.
    auto attached = LocalParty::Attach(cluster().Socket("alpha"), nullptr);
    child.Ok(attached, "Attach");
    if (!attached.ok()) return;
    LocalParty& party = **attached;
    const absl::StatusOr<Handle> own = party.Connect(party.id());
    child.Ok(own, "Connect to itself");
    if (!own.ok()) return;
    child.Ok(party.Send(*own, {{.number = 1, .bytes = kLarge}}), "Send before");
    direct = absl::UnknownError("");
    queued = absl::UnknownError("");
    claim = absl::UnknownError("");
    self().End();
    child.Ok(party.Send(*own, {{.number = 2, .bytes = kLarge}}), "Send after");
    const ReceiveResult received = party.Receive(Party::kInbox, 2);
    child.Ok(received, "Receive");
    child.Ok(received.messages.size() == 2 && received.messages[1].intact
                 ? absl::OkStatus()
                 : absl::DataLossError("not what was sent"),
             "messages");
  });

  EXPECT_EQ(direct->body().size(), kLarge);
  EXPECT_EQ(queued->body().size(), kLarge);
  claim->Truncate(8);
  FillBody(1, claim->body());
  EXPECT_THAT(claim->Commit(Patience()), IsOk());
  ExpectDelivered(peer().Receive(Party::kInbox, 1).messages, Numbered(1));
  ASSERT_THAT(peer().Send(to_mailbox, {{.number = 2}}), IsOk());
  EXPECT_THAT(self().Receive(receiver, 1), IsOk());
}

TEST_P(ForkTest, AParentThatDetachesIsGoneThoughAChildOfItLives) {
  std::unique_ptr<LocalParty> parent = NewSelf();
  ASSERT_OK_AND_ASSIGN(to_parent, peer().Connect(parent->id()));
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    char byte;
    (void)!read(ends[0], &byte, 1);
    _exit(0);
  }
  parent.reset();
  EXPECT_TRUE(Eventually([&] {
    return peer().Send(to_parent, {{.number = 1}}).status.code() == absl::StatusCode::kUnavailable;
  }));
  (void)!write(ends[1], "x", 1);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace mailrail
