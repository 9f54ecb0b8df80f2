#include "node/peer/session_table.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/peer/fake_stream.h"

namespace mailrail {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SessionTable::Stream Session(const char* node, uint64_t incarnation,
                             proto::SessionClass session_class, bool dialed) {
  proto::Hello hello;
  hello.set_node(node);
  hello.set_node_incarnation(incarnation);
  hello.set_session_class(session_class);
  return std::make_shared<FakeStream>(dialed, hello);
}

TEST(SessionTable, SessionsOfOtherPeersClassesAndDirectionsLiveSideBySide) {
  SessionTable table;
  for (const char* node : {"beta", "gamma"}) {
    for (const auto session_class : {proto::BULK, proto::URGENT}) {
      for (const bool dialed : {true, false}) {
        const auto session = Session(node, 1, session_class, dialed);
        EXPECT_THAT(table.Enter(session), IsEmpty());
        EXPECT_THAT(table.TakeOpenable(node), ElementsAre(session));
      }
    }
  }
  EXPECT_EQ(table.size(), 8u);
  EXPECT_EQ(table.All().size(), 8u);
  EXPECT_EQ(table.Opened("beta").size(), 4u);
  EXPECT_THAT(table.TakeOpenable("beta"), IsEmpty());
}

TEST(SessionTable, ANewerSessionWaitsForTheEndOfTheOneThatItDisplaces) {
  SessionTable table;
  const auto older = Session("beta", 1, proto::BULK, false);
  const auto newer = Session("beta", 1, proto::BULK, false);
  table.Enter(older);
  table.TakeOpenable("beta");
  EXPECT_THAT(table.Enter(newer), ElementsAre(older));
  EXPECT_THAT(table.TakeOpenable("beta"), IsEmpty());
  EXPECT_THAT(table.Opened("beta"), IsEmpty());
  EXPECT_TRUE(table.Remove(older.get()));
  EXPECT_THAT(table.TakeOpenable("beta"), ElementsAre(newer));
}

TEST(SessionTable, ANewIncarnationWaitsForAllSessionsOfTheOld) {
  SessionTable table;
  const auto bulk = Session("beta", 1, proto::BULK, false);
  const auto urgent = Session("beta", 1, proto::URGENT, true);
  const auto anew = Session("beta", 2, proto::BULK, true);
  for (const auto& session : {bulk, urgent}) {
    table.Enter(session);
    table.TakeOpenable("beta");
  }
  EXPECT_THAT(table.Enter(anew), ElementsAre(bulk, urgent));
  table.Remove(bulk.get());
  EXPECT_THAT(table.TakeOpenable("beta"), IsEmpty());
  table.Remove(urgent.get());
  EXPECT_THAT(table.TakeOpenable("beta"), ElementsAre(anew));
}

TEST(SessionTable, ASessionThatIsDisplacedWhileItWaitsNeverOpens) {
  SessionTable table;
  const auto first = Session("beta", 1, proto::BULK, false);
  const auto second = Session("beta", 1, proto::BULK, false);
  const auto third = Session("beta", 1, proto::BULK, false);
  table.Enter(first);
  table.TakeOpenable("beta");
  EXPECT_THAT(table.Enter(second), ElementsAre(first));
  EXPECT_THAT(table.Enter(third), ElementsAre(second));
  EXPECT_TRUE(table.Remove(first.get()));
  EXPECT_THAT(table.TakeOpenable("beta"), ElementsAre(third));
  EXPECT_FALSE(table.Remove(second.get()));
  EXPECT_TRUE(table.Remove(third.get()));
  EXPECT_FALSE(table.Has("beta"));
  EXPECT_EQ(table.size(), 0u);
}

TEST(SessionTable, RemovesNothingThatItDoesNotHave) {
  SessionTable table;
  EXPECT_FALSE(table.Remove(Session("beta", 1, proto::BULK, false).get()));
}

}  // namespace
}  // namespace mailrail
