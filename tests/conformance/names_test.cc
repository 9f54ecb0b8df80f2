// Names of processes and of mailboxes: who is behind one, and whose it is.
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance.h"
#include "tests/support/worker_party.h"

namespace mailrail {
namespace {

using NamesTest = ConformanceTest;
using NodeNamesTest = ConformanceTest;

MAILRAIL_OVER_TRANSPORTS(NamesTest);
INSTANTIATE_TEST_SUITE_P(, NodeNamesTest, testing::Values(Transport::kTwoNodes), TransportName);

constexpr auto kAlreadyExists = absl::StatusCode::kAlreadyExists;
constexpr auto kNotFound = absl::StatusCode::kNotFound;

TEST_P(NamesTest, AProcessKnowsWhoItIs) {
  EXPECT_EQ(self().id().node(), "alpha");
  EXPECT_EQ(self().id().pid(), getpid());
  EXPECT_GT(self().id().incarnation(), 0u);
  EXPECT_EQ(peer().id().node(), peer_node());
  EXPECT_NE(self().id(), peer().id());
  const absl::StatusOr<ProcessId> parsed = ProcessId::Parse(peer().id().ToString());
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(*parsed, peer().id());
}

TEST_P(NamesTest, AnIdResolvesToItself) {
  for (Party* const asks : {&peer(), static_cast<Party*>(&self())}) {
    for (const ProcessId& id : {self().id(), peer().id()}) {
      const absl::StatusOr<ProcessId> found = asks->Resolve(id.ToString());
      ASSERT_THAT(found, IsOk());
      EXPECT_EQ(*found, id);
    }
  }
}

TEST_P(NamesTest, ARegisteredNameResolvesWithAndWithoutItsNode) {
  const std::string name = NewName();
  ASSERT_THAT(peer().RegisterName(name), IsOk());
  for (const std::string& asked : {name, absl::StrCat(name, "@", peer_node())}) {
    const absl::StatusOr<ProcessId> found = self().Resolve(asked);
    ASSERT_THAT(found, IsOk()) << asked;
    EXPECT_EQ(*found, peer().id());
    ASSERT_OK_AND_ASSIGN(handle, self().Connect(asked));
    EXPECT_THAT(self().Send(handle, {{.number = 3}}), IsOk());
    EXPECT_THAT(peer().Receive(Party::kInbox, 1), IsOk());
  }
}

TEST_P(NamesTest, AProcessMayHaveSeveralNames) {
  const std::string first = NewName();
  const std::string second = NewName();
  ASSERT_THAT(peer().RegisterName(first), IsOk());
  ASSERT_THAT(peer().RegisterName(second), IsOk());
  for (const std::string& name : {first, second}) {
    const absl::StatusOr<ProcessId> found = self().Resolve(name);
    ASSERT_THAT(found, IsOk());
    EXPECT_EQ(*found, peer().id());
  }
}

TEST_P(NamesTest, ANameBelongsToOneProcessUntilThatEnds) {
  const std::string name = NewName();
  std::unique_ptr<Party> first = NewPeer();
  const std::unique_ptr<Party> second = NewPeer();
  ASSERT_THAT(first->RegisterName(name), IsOk());
  EXPECT_THAT(second->RegisterName(name), HasCode(kAlreadyExists));
  first->End();
  EXPECT_TRUE(Eventually([&] { return second->RegisterName(name).ok(); }));
  const absl::StatusOr<ProcessId> found = self().Resolve(absl::StrCat(name, "@", peer_node()));
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(*found, second->id());
}

TEST_P(NamesTest, AnEndedProcessIsNotFound) {
  const std::string name = NewName();
  const std::unique_ptr<Party> process = NewPeer();
  ASSERT_THAT(process->RegisterName(name), IsOk());
  ASSERT_THAT(self().Resolve(name), IsOk());
  process->End();
  EXPECT_TRUE(Eventually([&] { return self().Resolve(name).status().code() == kNotFound; }));
  EXPECT_THAT(self().Resolve(process->id().ToString()), HasCode(kNotFound));
  EXPECT_THAT(self().Connect(process->id()), HasCode(kNotFound));
  EXPECT_THAT(self().Connect(process->id().ToString()), HasCode(kNotFound));
}

TEST_P(NamesTest, APidResolvesToTheLivingProcess) {
  const int32_t pid = peer().id().pid();
  const absl::StatusOr<ProcessId> found = self().Resolve(absl::StrCat(pid, "@", peer_node()));
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->pid(), pid);
  EXPECT_EQ(found->node(), peer_node());
  EXPECT_NE(found->incarnation(), 0u);
  // This process is attached twice when the peer is within it.
  if (peer_has_own_process()) {
    EXPECT_EQ(*found, peer().id());
  }
  // Without a node it is one of this node.
  const absl::StatusOr<ProcessId> bare = self().Resolve(absl::StrCat(pid));
  if (across_nodes() && peer_has_own_process()) {
    EXPECT_THAT(bare, HasCode(kNotFound));
    EXPECT_THAT(self().Connect(absl::StrCat(pid)), HasCode(kNotFound));
  } else {
    ASSERT_THAT(bare, IsOk());
    EXPECT_EQ(bare->pid(), pid);
  }

  ASSERT_OK_AND_ASSIGN(handle, self().Connect(ProcessId(peer_node(), pid, 0)));
  EXPECT_THAT(self().Send(handle, {{}}), IsOk());
}

TEST_P(NamesTest, AnEarlierIncarnationIsNotFound) {
  const ProcessId& id = peer().id();
  const ProcessId earlier(id.node(), id.pid(), id.incarnation() + 1000);
  EXPECT_THAT(self().Resolve(earlier.ToString()), HasCode(kNotFound));
  EXPECT_THAT(self().Connect(earlier), HasCode(kNotFound));
}

TEST_P(NamesTest, WhatNobodyHasIsNotFound) {
  const std::string name = NewName();
  for (const std::string& asked :
       {name, absl::StrCat(name, "@alpha"), absl::StrCat(name, "@", peer_node()),
        absl::StrCat(name, "@nowhere"), std::string("2147483647"), std::string("2147483647@alpha"),
        std::string("2147483647.1@alpha"), std::string("1.1@nowhere")}) {
    EXPECT_THAT(self().Resolve(asked), HasCode(kNotFound)) << asked;
    EXPECT_THAT(self().Connect(asked), HasCode(kNotFound)) << asked;
  }
  for (const std::string& asked : {name, absl::StrCat(name, "@alpha"),
                                   absl::StrCat(name, "@", peer_node()), name + "@nowhere"}) {
    EXPECT_THAT(self().ConnectMailbox(asked), HasCode(kNotFound)) << asked;
    EXPECT_THAT(self().OpenMailbox(asked), HasCode(kNotFound)) << asked;
    EXPECT_THAT(self().DestroyMailbox(asked), HasCode(kNotFound)) << asked;
  }
  EXPECT_THAT(self().Connect(ProcessId("alpha", 2147483647, 1)), HasCode(kNotFound));
  EXPECT_THAT(self().Connect(ProcessId("nowhere", 1, 1)), HasCode(kNotFound));
}

TEST_P(NamesTest, AMailboxIsFoundWithAndWithoutItsNode) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  for (const std::string& asked : {name, absl::StrCat(name, "@", peer_node())}) {
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(asked));
    ASSERT_OK_AND_ASSIGN(any, self().Connect(asked));
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(asked));
    EXPECT_THAT(self().Send(sender, {{}}), IsOk());
    EXPECT_THAT(self().Send(any, {{}}), IsOk());
    EXPECT_THAT(self().Receive(receiver, 2), IsOk());
    self().Close(receiver);
  }
  if (across_nodes()) {
    EXPECT_THAT(self().ConnectMailbox(name + "@alpha"), HasCode(kNotFound));
  }
}

TEST_P(NamesTest, AMailboxIsTheOnlyOneOfItsName) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  EXPECT_THAT(peer().CreateMailbox(name), HasCode(kAlreadyExists));
  EXPECT_THAT(self().CreateMailbox(name), HasCode(kAlreadyExists));
  EXPECT_THAT(self().CreateMailbox(name, {.max_message_bytes = 5}), HasCode(kAlreadyExists));
  ASSERT_THAT(self().DestroyMailbox(name), IsOk());
  EXPECT_THAT(self().CreateMailbox(name), IsOk());
}

TEST_P(NamesTest, AMailboxThatIsMadeAnewIsAnother) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(old_sender, self().ConnectMailbox(name));
  ASSERT_THAT(self().OpenMailbox(name), IsOk());
  ASSERT_THAT(self().Send(old_sender, Numbered(3)), IsOk());
  ASSERT_THAT(peer().DestroyMailbox(name), IsOk());
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  // Until its node has heard of the end, a process that connects gets the lane that it has.
  EXPECT_TRUE(Eventually([&] {
    return self().Send(old_sender, {{}}).status.code() == absl::StatusCode::kUnavailable;
  }));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ASSERT_THAT(self().Send(sender, Numbered(1, {}, 9)), IsOk());
  const ReceiveResult result = self().Receive(receiver, 1);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result.messages[0].number, 9u);
  EXPECT_THAT(self().Receive(receiver, 1, absl::Now() + absl::Milliseconds(50)),
              HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_P(NamesTest, AProcessGoesBeforeAMailboxOfTheSameName) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_THAT(peer().RegisterName(name), IsOk());
  ASSERT_OK_AND_ASSIGN(any, self().Connect(name));
  ASSERT_THAT(self().Send(any, {{.number = 1}}), IsOk());
  EXPECT_THAT(peer().Receive(Party::kInbox, 1), IsOk());
  ASSERT_OK_AND_ASSIGN(mailbox, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name));
  ASSERT_THAT(self().Send(mailbox, {{.number = 2}}), IsOk());
  EXPECT_THAT(peer().Receive(receiver, 1), IsOk());
}

TEST_P(NamesTest, AMailboxWhoseNameNoProcessMayHaveIsFoundAlike) {
  const std::string name = "_" + NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name));
  for (const std::string& asked : {name, absl::StrCat(name, "@", peer_node())}) {
    ASSERT_OK_AND_ASSIGN(any, self().Connect(asked));
    EXPECT_THAT(self().Send(any, {{}}), IsOk());
    EXPECT_THAT(peer().Receive(receiver, 1), IsOk());
  }
}

TEST_P(NodeNamesTest, ANodesOwnMailboxGoesBeforeAPeersProcessOfTheSameName) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  ASSERT_THAT(peer().RegisterName(name), IsOk());
  ASSERT_OK_AND_ASSIGN(any, self().Connect(name));
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ASSERT_THAT(self().Send(any, {{}}), IsOk());
  EXPECT_THAT(self().Receive(receiver, 1), IsOk());
}

TEST_P(NodeNamesTest, ANodesOwnProcessGoesBeforeAPeersOfTheSameName) {
  const std::string name = NewName();
  ASSERT_THAT(self().RegisterName(name), IsOk());
  ASSERT_THAT(peer().RegisterName(name), IsOk());
  EXPECT_EQ(*self().Resolve(name), self().id());
  EXPECT_EQ(*peer().Resolve(name), peer().id());
  EXPECT_EQ(*self().Resolve(name + "@beta"), peer().id());
  EXPECT_EQ(*peer().Resolve(name + "@alpha"), self().id());
}

TEST_P(NodeNamesTest, AMailboxIsDestroyedFromAnyNode) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_THAT(self().DestroyMailbox(name + "@beta"), IsOk());
  EXPECT_THAT(peer().OpenMailbox(name), HasCode(kNotFound));
}

}  // namespace
}  // namespace mailrail
