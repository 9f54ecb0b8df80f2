// One party is interrupted after each of its instructions, and another does all of its part there:
// no order of the two loses a wake-up or a returned message.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "core/lane/cell_testing.h"
#include "core/lane/child_process.h"
#include "core/lane/ring_testing.h"
#include "core/shm/bell.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9, kOther = 3;
constexpr uint32_t kMe = 7, kHeir = 8;

// What the party that is interrupted says when it has ended.
struct Said {
  std::atomic<uint32_t> expected;  // the gate that it would sleep on
  std::atomic<bool> found;         // or that it found something, and does not sleep
};

class InterleavingTest : public ::testing::Test {
 protected:
  // Makes new shared memory.
  virtual void Begin() = 0;
  // The child. It maps its memory and does its part between BeginSteps and EndSteps.
  virtual void Interrupted() = 0;
  // What the parent does in the midst of it, and what must be when both have ended.
  virtual void Other() = 0;
  virtual void Check() = 0;

  void Run() {
    uint64_t at = random_.Below(kSlowdown);
    for (bool interrupted = true; interrupted;) {
      SCOPED_TRACE(at);
      Begin();
      interrupted = false;
      uint64_t steps = 0;
      const Steps result = StepThrough([this] { Interrupted(); },
                                       [&] {
                                         if (steps++ < at) return true;
                                         interrupted = true;
                                         Other();
                                         return false;
                                       });
      if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
      ASSERT_EQ(result, Steps::kDone);
      if (interrupted) Check();
      ASSERT_FALSE(HasFailure());
      // Each of the first instructions, and some of those that follow.
      at += kSlowdown * (1 + random_.Below(1 + at / 100));
    }
    EXPECT_GT(at, 10u);
  }

  Said& said() { return *reinterpret_cast<Said*>(said_.writable()); }

  TestRandom random_;
  const TwiceMapped said_{sizeof(Said)};
};

// A bell and a counter of messages that nobody has taken.
class BellInterleavingTest : public InterleavingTest {
 protected:
  struct Shared {
    BellWords bell;
    GateWord gate;
    std::atomic<uint64_t> published;
  };

  void Begin() override {
    memory_ = std::make_unique<TwiceMapped>(sizeof(Shared));
    said().found = false;
    found_ = false;
  }

  static void Send(Shared* shared, Ringer* ringer) {
    shared->published.exchange(shared->published.load() + 1);
    ringer->Ring();
  }

  Shared* shared() { return reinterpret_cast<Shared*>(memory_->writable()); }

  std::unique_ptr<TwiceMapped> memory_;
  FutexWord word_{};
  bool found_ = false;
};

class ParkInterruptedTest : public BellInterleavingTest {
 protected:
  void Interrupted() override {
    const Mapping mapping = memory_->MapWritable(), said_mapping = said_.MapWritable();
    auto* const shared = reinterpret_cast<Shared*>(mapping.data());
    auto* const said = reinterpret_cast<Said*>(said_mapping.data());
    Parker parker(&shared->bell, &shared->gate);
    // A park before this one, of which the sender knows.
    parker.Park();
    parker.Unpark(sole_);
    BeginSteps();
    const FutexWord word = parker.Park();
    said->found = shared->published.load(std::memory_order_acquire) > 0;
    said->expected = word.expected;
    EndSteps();
  }
  void Other() override {
    ringer_ = Ringer(&shared()->bell, &shared()->gate);
    Send(shared(), &ringer_);
    // Or another receiver takes the message, and is never seen again.
    if (taken_by_other_) shared()->published = 0;
  }
  void Check() override {
    if (taken_by_other_) Send(shared(), &ringer_);
    EXPECT_TRUE(said().found || shared()->gate.gate.load() != said().expected.load())
        << "sleeps beside a message";
  }

  Ringer ringer_;
  bool taken_by_other_ = false;
  bool sole_ = false;
};

TEST_F(ParkInterruptedTest, AMessageThatComesDuringAParkIsSeenOrRings) { Run(); }

TEST_F(ParkInterruptedTest, AMessageThatComesDuringAParkOfASoleReceiverIsSeenOrRings) {
  sole_ = true;
  Run();
}

TEST_F(ParkInterruptedTest, AMessageThatAnotherTakesDuringAParkDoesNotUseUpTheRing) {
  taken_by_other_ = true;
  Run();
}

// A sender sees the park as soon as it is announced, rings, and streams before it is over.
class StreamBesideParkTest : public ParkInterruptedTest {
 protected:
  void Other() override {
    ringer_ = Ringer(&shared()->bell, &shared()->gate);
    for (int i = 0; i < 100; ++i) Send(shared(), &ringer_);
  }
  void Check() override {
    // Now it has seen the park in any case. If it still streams, the next one must hear of it.
    Send(shared(), &ringer_);
    EXPECT_TRUE(ringer_.publication() == Publication::kFenced || shared()->gate.streams != 0)
        << "streams, and nobody will execute the barrier";
  }
};

TEST_F(StreamBesideParkTest, ASenderThatStreamsSinceItRangForAParkIsKnownToTheNext) { Run(); }

class SendInterruptedTest : public BellInterleavingTest {
 protected:
  void Interrupted() override {
    const Mapping mapping = memory_->MapWritable();
    auto* const shared = reinterpret_cast<Shared*>(mapping.data());
    Ringer ringer(&shared->bell, &shared->gate);
    BeginSteps();
    Send(shared, &ringer);
    EndSteps();
  }
  void Other() override {
    Parker parker(&shared()->bell, &shared()->gate);
    // It parks, is up again for another's message, and parks once more.
    for (int park = 0; park < parks_; ++park) {
      word_ = parker.Park();
      found_ = shared()->published.load() > 0;
      if (found_) return;
      if (park + 1 < parks_) parker.Unpark(true);
    }
  }
  void Check() override {
    EXPECT_TRUE(found_ || shared()->gate.gate.load() != word_.expected)
        << "sleeps beside a message";
  }

  int parks_ = 1;
};

TEST_F(SendInterruptedTest, AReceiverThatParksDuringASendSeesTheMessageOrIsRung) { Run(); }

TEST_F(SendInterruptedTest, AReceiverThatParksTwiceDuringASendSeesTheMessageOrIsRung) {
  parks_ = 2;
  Run();
}

// The sender of a full ring parks; meanwhile room comes that it cannot use, and then room for it.
class RingParkInterruptedTest : public InterleavingTest {
 protected:
  void Begin() override {
    link_ = std::make_unique<Link>(kSmallRing);
    RingWriter writer = link_->NewWriter();
    for (const int priority : {kPriority, kOther}) {
      while (writer.Append(priority, {{}, "x"}, 0)) {
      }
    }
    reader_.reset(new RingReader(link_->NewReader()));
  }
  void Interrupted() override {
    const Mapping own = link_->sender.MapWritable(), peer = link_->receiver.MapReadable();
    const Mapping said_mapping = said_.MapWritable();
    auto* const said = reinterpret_cast<Said*>(said_mapping.data());
    RingWriter writer(link_->geometry, own.data(), peer.data());
    if (!writer.Recover().ok() || writer.Append(kPriority, {{}, "x"}, 0)) _exit(1);
    BeginSteps();
    const FutexWord word = writer.ParkForRoom();
    said->found = writer.Append(kPriority, {{}, "x"}, 0);
    said->expected = word.expected;
    EndSteps();
  }
  void Other() override {
    ASSERT_TRUE(Receive(reader_.get(), useful_ ? kPriority : kOther).has_value());
    reader_->Flush();
  }
  void Check() override {
    if (!useful_) {
      ASSERT_TRUE(Receive(reader_.get(), kPriority).has_value());
      reader_->Flush();
    }
    const auto* const header = reinterpret_cast<const RingHeader*>(link_->receiver.readable());
    EXPECT_TRUE(said().found || header->room_gate.load() != said().expected.load())
        << "sleeps beside room";
  }

  std::unique_ptr<Link> link_;
  std::unique_ptr<RingReader> reader_;
  bool useful_ = true;
};

TEST_F(RingParkInterruptedTest, RoomThatComesDuringAParkIsSeenOrRings) { Run(); }

TEST_F(RingParkInterruptedTest, RoomForAnotherThatComesDuringAParkDoesNotUseUpTheRing) {
  useful_ = false;
  Run();
}

// The same in a mailbox lane, with two receivers.
class CellParkInterruptedTest : public InterleavingTest {
 protected:
  void Begin() override {
    lane_ = std::make_unique<CellLane>(kSmallCells, 2);
    CellWriter writer = lane_->NewWriter();
    for (const int priority : {kPriority, kOther}) {
      while (writer.Append(priority, {{}, "x"}, 0)) {
      }
    }
  }
  void Interrupted() override {
    const Mapping data = lane_->data.MapWritable(), state = lane_->state.MapWritable();
    const Mapping said_mapping = said_.MapWritable();
    auto* const said = reinterpret_cast<Said*>(said_mapping.data());
    CellWriter writer(lane_->geometry, lane_->capacity, data.data(), state.data());
    if (!writer.Recover().ok() || writer.Append(kPriority, {{}, "x"}, 0)) _exit(1);
    BeginSteps();
    const FutexWord word = writer.ParkForRoom();
    said->found = writer.Append(kPriority, {{}, "x"}, 0);
    said->expected = word.expected;
    EndSteps();
  }
  void Other() override {
    CellReader reader = lane_->NewReader();
    ASSERT_TRUE(Receive(&reader, useful_ ? kPriority : kOther, kMe).has_value());
  }
  void Check() override {
    CellReader reader = lane_->NewReader();
    ASSERT_TRUE(useful_ || Receive(&reader, kPriority, kHeir).has_value());
    const auto* const header = reinterpret_cast<const StateHeader*>(lane_->state.readable());
    EXPECT_TRUE(said().found || header->room_gate.load() != said().expected.load())
        << "sleeps beside room";
  }

  std::unique_ptr<CellLane> lane_;
  bool useful_ = true;
};

TEST_F(CellParkInterruptedTest, RoomThatComesDuringAParkIsSeenOrRings) { Run(); }

TEST_F(CellParkInterruptedTest, RoomForAnotherThatComesDuringAParkDoesNotUseUpTheRing) {
  useful_ = false;
  Run();
}

// A receiver returns its message, or all claims of a dead one; another looks for returned ones in
// the midst of it.
class ReturnInterruptedTest : public InterleavingTest {
 protected:
  void Begin() override {
    lane_ = std::make_unique<CellLane>(kSmallCells);
    CellWriter writer = lane_->NewWriter();
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    CellReader holder = lane_->NewReader();
    held_ = *Lease(&holder, kPriority, kMe);
    reader_.reset(new CellReader(lane_->NewReader()));
    ASSERT_EQ(Lease(reader_.get(), kPriority, kHeir), absl::nullopt);
    found_ = false;
  }
  void Interrupted() override {
    const Mapping data = lane_->data.MapReadable(), state = lane_->state.MapWritable();
    CellReader reader(lane_->geometry, data.data(), state.data());
    BeginSteps();
    if (release_all_) {
      reader.ReleaseClaimsOf(kMe);
    } else {
      reader.Return(kPriority, held_.head.slot, held_.head.position, kMe);
    }
    EndSteps();
  }
  void Other() override { found_ = Receive(reader_.get(), kPriority, kHeir) == "x"; }
  void Check() override {
    const bool now = Receive(reader_.get(), kPriority, kHeir) == "x";
    EXPECT_NE(found_, now);
  }

  std::unique_ptr<CellLane> lane_;
  std::unique_ptr<CellReader> reader_;
  Leased held_;
  bool found_ = false;
  bool release_all_ = false;
};

TEST_F(ReturnInterruptedTest, AMessageThatIsReturnedDuringALookIsFoundThenOrLater) { Run(); }

TEST_F(ReturnInterruptedTest, AMessageOfADeadOneThatIsReturnedDuringALookIsFoundThenOrLater) {
  release_all_ = true;
  Run();
}

// A receiver claims; another, or the sender, takes the message away in the midst of it.
class ClaimInterruptedTest : public InterleavingTest {
 protected:
  void Begin() override {
    lane_ = std::make_unique<CellLane>(kSmallCells);
    writer_.reset(new CellWriter(lane_->NewWriter()));
    ASSERT_TRUE(writer_->Append(kPriority, {{}, "x"}, 0));
    said().found = false;
  }
  void Interrupted() override {
    const Mapping data = lane_->data.MapReadable(), state = lane_->state.MapWritable();
    const Mapping said_mapping = said_.MapWritable();
    auto* const said = reinterpret_cast<Said*>(said_mapping.data());
    CellReader reader(lane_->geometry, data.data(), state.data());
    BeginSteps();
    CellHead head;
    if (reader.Peek(kPriority, &head) == Look::kReady) {
      said->found = reader.Claim(kPriority, head, kMe);
    }
    EndSteps();
  }
  void Other() override {
    if (retract_) {
      won_ = writer_->Retract(kPriority, 99);
      return;
    }
    // The slot stands for another message by the time that the first one goes on.
    CellReader reader = lane_->NewReader();
    won_ = Receive(&reader, kPriority, kHeir) == "x";
    if (won_ && again_) {
      ASSERT_TRUE(writer_->Append(kPriority, {{}, "y"}, 0));
    }
  }
  void Check() override {
    CellReader reader = lane_->NewReader();
    if (won_ && again_) {
      EXPECT_EQ(Receive(&reader, kPriority, kHeir).has_value(), !said().found);
    } else {
      EXPECT_NE(won_, said().found);
    }
    EXPECT_EQ(Receive(&reader, kPriority, kHeir), absl::nullopt);
  }

  std::unique_ptr<CellLane> lane_;
  std::unique_ptr<CellWriter> writer_;
  bool retract_ = false;
  bool again_ = false;
  bool won_ = false;
};

TEST_F(ClaimInterruptedTest, OneOfTwoReceiversWinsTheClaim) { Run(); }

TEST_F(ClaimInterruptedTest, ASlotThatIsUsedAgainDuringAClaimIsNotTheOldMessage) {
  again_ = true;
  Run();
}

TEST_F(ClaimInterruptedTest, EitherTheClaimOrTheRetractionWins) {
  retract_ = true;
  Run();
}

// A receiver that holds the order finds what it may claim; another claims the first message in the
// midst of it, which may have been sent for later, and be due just then.
class HoldInterruptedTest : public InterleavingTest {
 protected:
  void Begin() override {
    lane_ = std::make_unique<CellLane>(kSmallCells);
    CellWriter writer = lane_->NewWriter();
    if (for_later_) writer.SetExpires();
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0, Publication::kFenced,
                              {.due_tick = for_later_ ? 0 : DueTick::kAtOnce}));
    ASSERT_TRUE(writer.Append(kPriority, {{}, "y"}, 0));
    heirs_ = absl::nullopt;
    y_was_out_ = false;
  }
  void Interrupted() override {
    const Mapping data = lane_->data.MapReadable(), state = lane_->state.MapWritable();
    CellReader reader(lane_->geometry, data.data(), state.data());
    reader.set_choice(&choice_, 1);
    BeginSteps();
    CellHead head;
    // As MailboxQueue does.
    if (reader.Peek(kPriority, &head) == Look::kReady && reader.Claim(kPriority, head, kMe) &&
        reader.expires() && reader.HeldBack(kPriority, head)) {
      reader.Return(kPriority, head.slot, head.position, kMe, /*attempted=*/false);
    }
    EndSteps();
  }
  void Other() override {
    CellReader reader = lane_->NewReader();
    reader.set_choice(&choice_, 1);
    if (for_later_) {
      reader.ForEachKept([&](const CellReader::Kept& kept) {
        EXPECT_TRUE(kept.state.phase != Phase::kDelayed || reader.MakeDue(kept));
      });
    }
    y_was_out_ = LeasedBy(kMe) == 2;
    heirs_ = Lease(&reader, kPriority, kHeir);
  }
  void Check() override {
    const uint64_t mine = LeasedBy(kMe);
    if (!heirs_.has_value()) {
      EXPECT_EQ(mine, 1u);
      return;
    }
    // The other has the first: then nobody has the second, unless that was claimed before; and then
    // it may have been given back when it was looked at again.
    EXPECT_EQ(heirs_->body(), "x");
    EXPECT_TRUE(mine == 0 || (mine == 2 && y_was_out_)) << mine;
  }
  // The position of the message that is leased by `owner`; 0: none is.
  uint64_t LeasedBy(uint32_t owner) {
    const std::vector<CellHead> held = lane_->NewReader().HeldBy(kPriority, owner);
    return held.empty() ? 0 : held[0].position;
  }

  const CellChoice choice_{.hold_order = true, .receivers = {}};
  std::unique_ptr<CellLane> lane_;
  absl::optional<Leased> heirs_;
  bool for_later_ = false;
  bool y_was_out_ = false;
};

TEST_F(HoldInterruptedTest, NothingIsHandedOutBesideAnEarlierMessage) { Run(); }

TEST_F(HoldInterruptedTest, NothingIsHandedOutBesideAnEarlierMessageThatIsDueJustThen) {
  for_later_ = true;
  Run();
}

// The same, and the first message, which another holds, comes back in the midst of it.
class HoldInterruptedByReturnTest : public HoldInterruptedTest {
 protected:
  void Begin() override {
    HoldInterruptedTest::Begin();
    CellReader reader = lane_->NewReader();
    held_ = *Lease(&reader, kPriority, kHeir);
  }
  void Other() override {
    CellReader reader = lane_->NewReader();
    ASSERT_TRUE(reader.Return(kPriority, held_.head.slot, held_.head.position, kHeir));
  }
  // Either it is found, or nothing is.
  void Check() override { EXPECT_NE(LeasedBy(kMe), 2u); }

  Leased held_;
};

TEST_F(HoldInterruptedByReturnTest, NothingIsHandedOutBesideAnEarlierMessageThatComesBack) {
  Run();
}

}  // namespace
}  // namespace mailrail
