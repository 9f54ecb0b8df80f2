#include "tests/soak/history.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "tests/soak/schedule.h"
#include "tests/support/eventually.h"

namespace mailrail::soak {
namespace {

Event Numbered(uint64_t value) {
  Event event;
  event.kind = EventKind::kReceiveReturn;
  event.priority = 31;
  event.status = absl::StatusCode::kDeadlineExceeded;
  event.redelivered = true;
  event.intact = false;
  event.reason = EndReason::kUnreachable;
  event.bytes = 77;
  event.destination = ~value;
  event.value = value;
  event.sequence = value * 3;
  event.peer = value * 5;
  return event;
}

TEST(JournalTest, WhatIsWrittenIsRead) {
  Journal journal(3);
  EXPECT_EQ(journal.room(), 3u);
  EXPECT_EQ(journal.count(), 0u);
  const int64_t before = NowNs();
  journal.Append(Numbered(1));
  Event timed = Numbered(2);
  timed.time_ns = 4711;
  journal.Append(timed);
  EXPECT_EQ(journal.room(), 1u);
  EXPECT_EQ(journal.count(), 2u);
  const absl::StatusOr<std::vector<Event>> events = journal.Read();
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->size(), 2u);
  const Event& event = (*events)[0];
  EXPECT_EQ(event.kind, EventKind::kReceiveReturn);
  EXPECT_EQ(event.priority, 31);
  EXPECT_EQ(event.status, absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(event.redelivered);
  EXPECT_FALSE(event.intact);
  EXPECT_EQ(event.reason, EndReason::kUnreachable);
  EXPECT_EQ(event.bytes, 77u);
  EXPECT_EQ(event.destination, ~uint64_t{1});
  EXPECT_EQ(event.value, 1u);
  EXPECT_EQ(event.sequence, 3u);
  EXPECT_EQ(event.peer, 5u);
  EXPECT_GE(event.time_ns, before);
  EXPECT_EQ((*events)[1].time_ns, 4711);
}

TEST(JournalTest, AnEventThatItsWriterDidNotFinishIsNotThere) {
  Journal journal(3);
  journal.Append(Numbered(1));
  memset(journal.events() + Journal::kEventBytes, 0xaa, Journal::kEventBytes / 2);
  const absl::StatusOr<std::vector<Event>> events = journal.Read();
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_EQ(events->size(), 1u);
}

TEST(JournalTest, ATornEventIsFound) {
  for (size_t byte = 0; byte < 2 * Journal::kEventBytes; ++byte) {
    Journal journal(3);
    journal.Append(Numbered(1));
    journal.Append(Numbered(2));
    ASSERT_TRUE(journal.Read().ok());
    journal.events()[byte] ^= 0x10;
    EXPECT_TRUE(absl::IsDataLoss(journal.Read().status())) << byte;
  }
}

TEST(JournalTest, EventsOutliveTheKillOfTheirWriter) {
  for (int round = 0; round < 20; ++round) {
    Journal journal(1 << 20);
    const pid_t writer = fork();
    if (writer == 0) {
      for (uint64_t value = 0; journal.room() > 0; ++value) journal.Append(Numbered(value));
      pause();
    }
    const size_t enough = size_t{1} << 20 >> round;
    EXPECT_TRUE(Eventually([&] { return (1 << 20) - journal.room() >= enough; }));
    kill(writer, SIGKILL);
    waitpid(writer, nullptr, 0);
    const absl::StatusOr<std::vector<Event>> events = journal.Read();
    ASSERT_TRUE(events.ok()) << events.status();
    EXPECT_GE(events->size(), enough);
    for (uint64_t i = 0; i < events->size(); ++i) ASSERT_EQ((*events)[i].value, i);
  }
}

TEST(KeyTest, ProcessesThatDifferHaveDifferentKeys) {
  const ProcessId id("alpha", 4711, 12);
  EXPECT_EQ(KeyOf(id), KeyOf(ProcessId("alpha", 4711, 12)));
  EXPECT_NE(KeyOf(id), KeyOf(ProcessId("beta", 4711, 12)));
  EXPECT_NE(KeyOf(id), KeyOf(ProcessId("alpha", 4710, 13)));
  EXPECT_NE(KeyOf(id), KeyOf(ProcessId("alpha", 12, 4711)));
  EXPECT_GE(KeyOf(ProcessId()), kFirstKey);
}

constexpr Schedule::Rates kRates = {
    .min_wait_ns = 10, .max_wait_ns = 20, .min_stop_ns = 5, .max_stop_ns = 9, .stops_of_ten = 3};

TEST(ScheduleTest, TheSameSeedHasTheSameStrikes) {
  Schedule one(1, 13, kRates), same(1, 13, kRates), another(2, 13, kRates);
  int differences = 0;
  for (int i = 0; i < 1000; ++i) {
    const Strike strike = one.Next(), strike_again = same.Next(), other = another.Next();
    EXPECT_EQ(strike.wait_ns, strike_again.wait_ns);
    EXPECT_EQ(strike.target, strike_again.target);
    EXPECT_EQ(strike.in_call, strike_again.in_call);
    EXPECT_EQ(strike.stop, strike_again.stop);
    EXPECT_EQ(strike.stop_ns, strike_again.stop_ns);
    differences += strike.target != other.target;
  }
  EXPECT_GT(differences, 500);
}

TEST(ScheduleTest, StrikesKeepToTheirRatesAndReachEveryTarget) {
  Schedule schedule(1, 13, kRates);
  int stops = 0;
  std::vector<int> strikes(13);
  for (int i = 0; i < 1000; ++i) {
    const Strike strike = schedule.Next();
    EXPECT_GE(strike.wait_ns, 10);
    EXPECT_LE(strike.wait_ns, 20);
    EXPECT_GE(strike.stop_ns, 5);
    EXPECT_LE(strike.stop_ns, 9);
    stops += strike.stop;
    ++strikes[strike.target];
  }
  EXPECT_NEAR(stops, 300, 60);
  for (const int count : strikes) EXPECT_GT(count, 30);
}

}  // namespace
}  // namespace mailrail::soak
