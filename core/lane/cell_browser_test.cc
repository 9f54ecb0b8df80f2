// Who looks at a mailbox lane: sees each message that is not done with, and disturbs nobody.
#include "core/lane/cell_browser.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kOwner = 7;

class CellBrowserTest : public ::testing::Test {
 protected:
  CellBrowserTest() { Open(kSmallCells, 16); }

  void Open(const CellGeometry& geometry, uint32_t capacity) {
    lane_ = std::make_unique<CellLane>(geometry, capacity);
    writer_.reset(new CellWriter(lane_->NewWriter()));
    reader_.reset(new CellReader(lane_->NewReader()));
    browser_ = std::make_unique<CellBrowser>(lane_->geometry, lane_->data.seen_by_other(),
                                             lane_->state.seen_by_other());
  }
  void SendOne(absl::string_view body, uint64_t stamp = 0) {
    Require(Send(writer_.get(), kPriority, {{}, body}, stamp), "room for a message");
  }
  Leased LeaseOne() {
    const absl::optional<Leased> leased = Lease(reader_.get(), kPriority, kOwner);
    Require(leased.has_value(), "a message to lease");
    return *leased;
  }
  // All that a look finds, by position, `count` steps at a time.
  std::map<uint64_t, CellBrowser::Found> LookAt(uint32_t count = 1000) const {
    std::map<uint64_t, CellBrowser::Found> all;
    std::map<uint64_t, int> times;
    for (uint32_t step = 0; step < browser_->steps(); step += count) {
      browser_->Look(kPriority, step, count, [&](const CellBrowser::Found& found) {
        all[found.position] = found;
        ++times[found.position];
      });
    }
    for (const auto& [position, found] : all) {
      EXPECT_EQ(times[position], found.claimed ? 2 : 1) << position;
    }
    return all;
  }
  std::string BodyOf(const CellBrowser::Found& found, size_t most = 10000) const {
    const absl::optional<CellBrowser::Copied> copied =
        browser_->Copy(kPriority, found.slot, found.position, most);
    return copied.has_value() ? copied->bytes : "none";
  }

  std::unique_ptr<CellLane> lane_;
  std::unique_ptr<CellWriter> writer_;
  std::unique_ptr<CellReader> reader_;
  std::unique_ptr<CellBrowser> browser_;
};

TEST_F(CellBrowserTest, WhatWaitsIsLeasedGivenBackOrDelayedIsSeenAndTheRestIsNot) {
  EXPECT_EQ(browser_->rings_in_use(), 0u);
  EXPECT_TRUE(LookAt().empty());
  for (const char* body :
       {"taken", "viewed", "leased", "returned", "delayed", "condemned", "new"}) {
    SendOne(body, 100);
  }
  EXPECT_EQ(browser_->rings_in_use(), 1u << kPriority);
  std::vector<Leased> leased;
  for (int i = 0; i < 6; ++i) leased.push_back(LeaseOne());
  const auto settle = [&](size_t index) { return leased[index].head; };
  ASSERT_TRUE(reader_->Take(kPriority, settle(0).slot, 1, kOwner, /*keep_room=*/false));
  ASSERT_TRUE(reader_->Take(kPriority, settle(1).slot, 2, kOwner, /*keep_room=*/true));
  ASSERT_TRUE(reader_->Return(kPriority, settle(3).slot, 4, kOwner));
  ASSERT_TRUE(reader_->ReturnLater(kPriority, settle(4).slot, 5, kOwner, 77));
  ASSERT_TRUE(reader_->Condemn(kPriority, settle(5).slot, 6, kOwner, Condemned::kExpired));
  for (const uint32_t steps : {1u, 7u, 1000u}) {
    const std::map<uint64_t, CellBrowser::Found> all = LookAt(steps);
    ASSERT_EQ(all.size(), 4u);
    EXPECT_EQ(all.at(3).state().phase, Phase::kLeased);
    EXPECT_EQ(all.at(3).state().owner, kOwner);
    EXPECT_FALSE(all.at(3).waiting());
    EXPECT_EQ(BodyOf(all.at(3)), "leased");
    EXPECT_TRUE(all.at(4).waiting());
    EXPECT_EQ(all.at(4).attempts(), 1u);
    EXPECT_EQ(BodyOf(all.at(4)), "returned");
    EXPECT_EQ(all.at(5).state().phase, Phase::kDelayed);
    EXPECT_EQ(all.at(5).state().owner, 77u);
    EXPECT_TRUE(all.at(7).waiting());
    EXPECT_EQ(all.at(7).attempts(), 0u);
    EXPECT_EQ(all.at(7).stamp, 100u);
    EXPECT_EQ(BodyOf(all.at(7)), "new");
  }
}

TEST_F(CellBrowserTest, ALookTakesNothingAndWakesNobody) {
  SendOne("first");
  SendOne("second");
  LeaseOne();
  const std::string data(lane_->data.readable(), lane_->data.size());
  const std::string state(lane_->state.readable(), lane_->state.size());
  for (const auto& [position, found] : LookAt()) BodyOf(found);
  EXPECT_TRUE(data == std::string(lane_->data.readable(), data.size()));
  EXPECT_TRUE(state == std::string(lane_->state.readable(), state.size()));
}

TEST_F(CellBrowserTest, WhatIsHeldForLongIsSeenThoughItsEntryIsOverwritten) {
  SendOne("held");
  LeaseOne();
  for (int i = 0; i < 40; ++i) {
    SendOne("passing");
    ASSERT_TRUE(Receive(reader_.get(), kPriority, kOwner).has_value());
  }
  const std::map<uint64_t, CellBrowser::Found> all = LookAt();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(BodyOf(all.at(1)), "held");
}

TEST_F(CellBrowserTest, APrefixIsCopiedWholeAndABodyAsFarAsIsAskedFor) {
  for (const size_t bytes : {50u, 3000u}) {
    const std::string prefix("\x05\0abc", 5);
    const std::string body(bytes, 'b');
    ASSERT_TRUE(Send(writer_.get(), kPriority, {prefix, body}, 0));
    const Leased leased = LeaseOne();
    const auto copied = browser_->Copy(kPriority, leased.head.slot, leased.head.position, 10);
    ASSERT_TRUE(copied.has_value());
    EXPECT_TRUE(copied->has_prefix);
    EXPECT_EQ(copied->length, 5 + bytes);
    EXPECT_EQ(copied->bytes, prefix + std::string(10, 'b'));
    EXPECT_EQ(
        browser_->Copy(kPriority, leased.head.slot, leased.head.position, 1 << 20)->bytes.size(),
        5 + bytes);
  }
}

TEST_F(CellBrowserTest, AMessageThatIsDoneWithIsNotCopied) {
  SendOne("first");
  const CellBrowser::Found found = LookAt().at(1);
  ASSERT_TRUE(Receive(reader_.get(), kPriority, kOwner).has_value());
  EXPECT_EQ(BodyOf(found), "none");
  // Nor is what stands there after it.
  for (int i = 0; i < 16; ++i) SendOne("another");
  EXPECT_EQ(BodyOf(found), "none");
  EXPECT_EQ(BodyOf({.position = 1, .slot = 4711}), "none");
}

TEST_F(CellBrowserTest, WhatIsWithheldIsNobodysUntilItIsDue) {
  SendOne("first");
  SendOne("second");
  CellHead head;
  ASSERT_EQ(reader_->Peek(kPriority, &head), Look::kReady);
  CellReader::Kept kept;
  ASSERT_TRUE(reader_->Withhold(kPriority, head, 5, &kept));
  EXPECT_FALSE(reader_->Withhold(kPriority, head, 5, &kept));
  EXPECT_FALSE(reader_->Claim(kPriority, head, kOwner));
  EXPECT_EQ(LeaseOne().body(), "second");
  EXPECT_FALSE(Lease(reader_.get(), kPriority, kOwner).has_value());
  ASSERT_TRUE(reader_->MakeDue(kept));
  const Leased first = LeaseOne();
  EXPECT_EQ(first.body(), "first");
  EXPECT_EQ(first.head.attempts, 0u);
}

// A sender and two receivers, of which one gives things back. They wait for who looks only when it
// has copied nothing for a while.
TEST_F(CellBrowserTest, WhatIsCopiedWhileOthersGoOnIsWholeAndOfItsPlace) {
  constexpr uint64_t kMessages = 20000 / kSlowdown;
  constexpr uint64_t kReceivedForACopy = 20;
  Open(kSmallCells, 13);
  std::atomic<uint64_t> taken = 0, copies = 0;
  std::thread sender([&] {
    for (uint64_t position = 1; position <= kMessages; ++position) {
      const std::string body = MakeBody(position, 1, 24 + position % 200);
      while (!Send(writer_.get(), kPriority, {{}, body}, 0)) std::this_thread::yield();
    }
  });
  std::vector<std::thread> receivers;
  for (uint32_t owner = 1; owner <= 2; ++owner) {
    receivers.emplace_back([&, owner] {
      CellReader reader = lane_->NewReader();
      while (taken.load() < kMessages) {
        if (taken.load() > kReceivedForACopy * (copies.load() + 1)) {
          std::this_thread::yield();
          continue;
        }
        const absl::optional<Leased> leased = Lease(&reader, kPriority, owner);
        if (!leased.has_value()) {
          std::this_thread::yield();
          continue;
        }
        const CellHead& head = leased->head;
        const bool returns = owner == 2 && head.attempts == 0 && head.position % 3 == 0;
        const bool done = returns ? reader.Return(kPriority, head.slot, head.position, owner)
                                  : reader.Take(kPriority, head.slot, head.position, owner, false);
        Require(done, "what one holds one can settle");
        if (!returns) taken.fetch_add(1);
      }
    });
  }
  while (taken.load() < kMessages) {
    browser_->Look(kPriority, 0, browser_->steps(), [&](const CellBrowser::Found& found) {
      const auto copied = browser_->Copy(kPriority, found.slot, found.position, 1 << 20);
      if (!copied.has_value()) return;
      copies.fetch_add(1);
      ASSERT_EQ(copied->bytes, MakeBody(found.position, 1, 24 + found.position % 200));
    });
  }
  sender.join();
  for (std::thread& receiver : receivers) receiver.join();
  EXPECT_GT(copies.load(), 0u);
  EXPECT_TRUE(LookAt().empty());
}

// Memory between pages that no access survives, with anything at all in it.
TEST(CellBrowserHostileTest, WhateverStandsThereALookHasAnEndAndStaysInside) {
  TestRandom random;
  const CellGeometry geometry = {.slots = 16, .slab_bytes = 8192};
  const GuardedMemory data(geometry.data_bytes()), state(geometry.state_bytes());
  const CellBrowser browser(geometry, data.data(), state.data());
  uint64_t copies = 0;
  for (int round = 0; round < 30000 / kSlowdown; ++round) {
    if (round % 100 == 0) {
      std::memset(data.data(), 0, data.size());
      std::memset(state.data(), 0, state.size());
      CellWriter writer(geometry, 13, data.data(), state.data());
      for (int i = 0; i < 12; ++i) {
        Send(&writer, kPriority, {{}, std::string(random.Below(600), 'x')}, 0);
      }
    }
    auto* const slot = reinterpret_cast<Slot*>(data.data() + geometry.slot_offset(kPriority)) +
                       random.Below(geometry.slots);
    const uint64_t number = random() >> random.Below(64);
    switch (random.Below(6)) {
      case 0:
        slot->length = static_cast<uint32_t>(number);
        break;
      case 1:
        slot->flags = static_cast<uint32_t>(number);
        break;
      case 2:
        slot->slab_at = number;
        break;
      case 3:
        slot->sequence = number;
        break;
      case 4:
        reinterpret_cast<std::atomic<uint64_t>*>(
            data.data() +
            geometry.order_offset(kPriority))[random.Below(geometry.order_entries())] = number;
        break;
      default:
        reinterpret_cast<std::atomic<uint64_t>*>(
            state.data() + geometry.state_offset(kPriority))[random.Below(geometry.slots)] = number;
    }
    size_t found = 0;
    browser.Look(kPriority, 0, browser.steps(), [&](const CellBrowser::Found& each) {
      ++found;
      const auto copied = browser.Copy(kPriority, each.slot, each.position, random.Below(9000));
      if (!copied.has_value()) return;
      ++copies;
      ASSERT_LE(copied->bytes.size(), copied->length);
      ASSERT_LE(copied->length, geometry.slab_bytes);
    });
    ASSERT_LE(found, browser.steps());
  }
  EXPECT_GT(copies, 0u);
}

}  // namespace
}  // namespace mailrail
