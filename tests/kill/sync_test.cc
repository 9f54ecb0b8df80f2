// The victim holds, gets and lets go of locks and units, or waits at barriers and conditions.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/step.h"
#include "tests/kill/driver.h"
#include "tests/kill/holds.h"

namespace mailrail {
namespace {

// What is common to all victims that hold something. Those who live on get it by `others`, which
// excludes the victim's.
class Holds : public Scenario {
 public:
  Holds(World* world, Hold victims, Hold others)
      : Scenario(world), victims_(victims), others_(others) {}

  void Prepare() override {
    Attach();
    way_ = Must(OpenWay(*process_, victims_));
  }
  void Act() override {
    for (int i = 0; i < 2; ++i) {
      Get();
      Step();
      Put();
    }
  }
  void Finish() override {
    Get();
    Put();
  }
  void Leave() override {
    way_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    peer_ = Opened(world_.peer());
    other_ = Opened(world_.other());
  }
  void During(bool killed) override {
    Scenario::During(killed);
    if (killed) return GetAndPut(peer_, GoOnDeadline());
    // One that is stopped keeps what it has, and keeps nobody else from what it has not.
    const absl::StatusOr<Grant> grant = peer_.get(absl::InfinitePast());
    EXPECT_TRUE(grant.ok() || page().may_hold) << grant.status();
    EXPECT_FALSE(grant.ok() && page().holds) << "two have it";
    if (!grant.ok()) return;
    Take(*grant);
    EXPECT_TRUE(peer_.put().ok());
  }
  void After(bool killed) override {
    GetAndPut(peer_, GoOnDeadline());
    // It is free by now.
    GetAndPut(other_, absl::InfinitePast());
    const bool may_tell = killed && TellsOfDeath(victims_) && page().may_hold;
    EXPECT_LE(told_, may_tell ? 1 : 0);
    EXPECT_GE(told_, may_tell && page().holds ? 1 : 0) << "nobody was told";
  }

 protected:
  // --- In the victim.
  void Get() {
    page().may_hold = true;
    const absl::StatusOr<Grant> grant = way_->get(GoOnDeadline());
    if (!grant.ok()) Victim::Fail(grant.status().ToString());
    page().holds = true;
    if (grant->fence <= page().fence) Victim::Fail("a fencing token that has not risen");
    page().fence = grant->fence;
  }
  void Put() {
    page().holds = false;
    if (absl::Status status = way_->put(); !status.ok()) Victim::Fail(status.ToString());
    page().may_hold = false;
  }

  // --- In the driver.
  Way Opened(Process& process) {
    absl::StatusOr<Way> way = OpenWay(process, others_);
    EXPECT_TRUE(way.ok()) << way.status();
    return *std::move(way);
  }
  // Somebody has it: by one thread at a time.
  void Take(const Grant& grant) {
    // The victim may have had it since its last note.
    EXPECT_GT(grant.fence, page().fence);
    page().fence = grant.fence;
    told_ += grant.owner_died;
  }
  void GetAndPut(const Way& way, absl::Time deadline) {
    const Beside in_thread([&] {
      const absl::StatusOr<Grant> grant = way.get(deadline);
      EXPECT_TRUE(grant.ok()) << grant.status();
      if (!grant.ok()) return;
      // It had it until it died.
      if (page().holds && page().struck_at_ns != 0 && !std::exchange(recovered_, true)) {
        NoteRecovery();
      }
      Take(*grant);
      EXPECT_TRUE(way.put().ok());
    });
  }

  const Hold victims_, others_;
  std::unique_ptr<Way> way_;  // the victim's
  Way peer_, other_;
  int told_ = 0;
  bool recovered_ = false;
};

MAILRAIL_KILL_SCENARIO(LockMutex, Holds, Hold::kMutex, Hold::kMutex);
MAILRAIL_KILL_SCENARIO(LockToWrite, Holds, Hold::kWrite, Hold::kWrite);
MAILRAIL_KILL_SCENARIO(LockToRead, Holds, Hold::kRead, Hold::kWrite);
MAILRAIL_KILL_SCENARIO(AcquireUnit, Holds, Hold::kUnit, Hold::kUnit);

// Somebody sleeps for what the victim has, and lets go.
class LetsGo : public Holds {
 public:
  using Holds::Holds;

  void Prepare() override {
    Holds::Prepare();
    Get();
  }
  void Act() override {
    Step();
    Put();
    Get();
    Step();
    Put();
  }
  void Ready() override {
    Holds::Ready();
    waits_.emplace([this] { GetAndPut(peer_, GoOnDeadline()); });
    waits_->WaitUntilAsleep();
  }
  void During(bool killed) override {
    Scenario::During(killed);
    if (killed || !page().may_hold) {
      EXPECT_TRUE(Soon([this] { return waits_->done(); })) << "a wake-up is lost";
    }
  }
  void After(bool killed) override {
    waits_.reset();
    Holds::After(killed);
  }

 protected:
  std::optional<Beside> waits_;
};

MAILRAIL_KILL_SCENARIO(UnlockForASleeper, LetsGo, Hold::kMutex, Hold::kMutex);
MAILRAIL_KILL_SCENARIO(UnlockForAWriter, LetsGo, Hold::kRead, Hold::kWrite);
MAILRAIL_KILL_SCENARIO(UnlockForASet, LetsGo, Hold::kMutex, Hold::kMutexInSet);
MAILRAIL_KILL_SCENARIO(ReleaseForASleeper, LetsGo, Hold::kUnit, Hold::kUnit);

// The victim sleeps for what the peer has, and so does the other: whoever is woken and dies leaves
// it to the next.
class SleepsFor : public LetsGo {
 public:
  using LetsGo::LetsGo;

  void Prepare() override {
    Holds::Prepare();
    SleepAtOnce(*process_);
  }
  void Act() override {
    page().attempted = 1;
    Get();
    Step();
    Put();
  }
  void Ready() override {
    Holds::Ready();
    holds_.emplace([this] {
      const absl::StatusOr<Grant> grant = peer_.get(GoOnDeadline());
      EXPECT_TRUE(grant.ok()) << grant.status();
      if (grant.ok()) Take(*grant);
      has_ = true;
      Soon([this] {
        return page().struck_at_ns != 0 || (page().attempted == 1 && VictimIsStill());
      });
      EXPECT_TRUE(peer_.put().ok());
    });
    Soon([this] { return has_.load(); });
    waits_.emplace([this] { GetAndPut(other_, GoOnDeadline()); });
    waits_->WaitUntilAsleep();
  }
  void During(bool killed) override {
    LetsGo::During(killed);
    EXPECT_TRUE(Soon([this] { return holds_->done(); }));
  }
  void After(bool killed) override {
    holds_.reset();
    LetsGo::After(killed);
  }

 private:
  bool VictimIsStill() const { return IsStill(absl::StrCat("/proc/", victim_.pid(), "/stat")); }
  std::atomic<bool> has_ = false;
  std::optional<Beside> holds_;
};

MAILRAIL_KILL_SCENARIO(SleepForMutex, SleepsFor, Hold::kMutex, Hold::kMutex);
MAILRAIL_KILL_SCENARIO(SleepForMutexInSet, SleepsFor, Hold::kMutexInSet, Hold::kMutex);
MAILRAIL_KILL_SCENARIO(SleepToWrite, SleepsFor, Hold::kWrite, Hold::kWrite);
MAILRAIL_KILL_SCENARIO(SleepToRead, SleepsFor, Hold::kRead, Hold::kWrite);
MAILRAIL_KILL_SCENARIO(SleepForUnit, SleepsFor, Hold::kUnit, Hold::kUnit);

// Uses up units, and adds them: no death changes how many there are.
class UsesUp : public Scenario {
 public:
  using Scenario::Scenario;
  static constexpr uint32_t kUnits = 3;

  void Prepare() override {
    Attach();
    semaphore_ = Must(OpenIn(*process_));
  }
  void Act() override {
    Wait();
    Post();
    Wait();
  }
  void Finish() override {
    Wait();
    Post();
  }
  void Leave() override {
    semaphore_.reset();
    Scenario::Leave();
  }

  void Ready() override { peer_.emplace(OpenIn(world_.peer()).value()); }
  void During(bool killed) override {
    Scenario::During(killed);
    ExpectUnits();
    // The last one that the victim may have is the only one that may not be there.
    EXPECT_TRUE(peer_->TryWait().ok());
    EXPECT_TRUE(peer_->Post().ok());
  }
  void After(bool) override { ExpectUnits(); }

 private:
  static absl::StatusOr<Semaphore> OpenIn(Process& process) {
    return Semaphore::Open(
        process, "kill.units",
        {.units = kUnits, .most_units = kUnits, .open = {.create = true, .transient = true}});
  }
  // What it has used up is at least `told`, and at most `attempted`.
  void Wait() {
    ++page().attempted;
    if (!semaphore_->Wait(GoOnDeadline()).ok()) Victim::Fail("no unit");
    ++page().told;
  }
  void Post() {
    --page().told;
    if (!semaphore_->Post().ok()) Victim::Fail("a unit too many");
    --page().attempted;
  }
  void ExpectUnits() const {
    const uint32_t value = peer_->value();
    EXPECT_GE(value, kUnits - page().attempted);
    EXPECT_LE(value, kUnits - page().told);
  }

  std::unique_ptr<Semaphore> semaphore_;
  std::optional<Semaphore> peer_;
};

MAILRAIL_KILL_SCENARIO(WaitAndPost, UsesUp);

// Two parties wait for each other; the victim comes first, or last.
class Meets : public Scenario {
 public:
  Meets(World* world, bool last) : Scenario(world), last_(last) {}

  void Prepare() override {
    Attach();
    barrier_ = Must(OpenIn(*process_));
    SleepAtOnce(*process_);
  }
  void Act() override {
    page().attempted = 1;
    const absl::StatusOr<uint32_t> round = barrier_->Wait(GoOnDeadline());
    if (!round.ok()) Victim::Fail(round.status().ToString());
    if (*round != 0) Victim::Fail("another round");
    page().told = 1;
  }
  void Leave() override {
    barrier_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    peer_.emplace(OpenIn(world_.peer()).value());
    other_.emplace(OpenIn(world_.other()).value());
    waits_.emplace([this] {
      if (!last_) {
        Soon([this] {
          return page().struck_at_ns != 0 ||
                 (page().attempted == 1 && IsStill(absl::StrCat("/proc/", victim_.pid(), "/stat")));
        });
      }
      comes_ = true;
      const absl::StatusOr<uint32_t> round = peer_->Wait(GoOnDeadline());
      EXPECT_TRUE(round.ok()) << round.status();
      round_ = round.value_or(99);
    });
    if (last_) Soon([this] { return peer_->waiting() == 1; });
  }
  void After(bool killed) override {
    EXPECT_TRUE(killed || page().told == 1);
    // Either the victim was counted, and the peer has passed; or it does not count any more, and
    // another party may come in its place.
    Soon([this] {
      if (waits_->done()) return true;
      if (!comes_ || peer_->waiting() != 1) return false;
      waits_->WaitUntilAsleep();
      return !waits_->done() && peer_->waiting() == 1;
    });
    if (!waits_->done()) {
      EXPECT_EQ(page().told, 0u) << "the victim has passed alone";
      const Beside in_thread([this] {
        const absl::StatusOr<uint32_t> round = other_->Wait(GoOnDeadline());
        EXPECT_TRUE(round.ok()) << round.status();
        EXPECT_EQ(round.value_or(98), 0u);
      });
    }
    waits_.reset();
    EXPECT_EQ(round_, 0u);
    EXPECT_TRUE(Soon([this] { return peer_->waiting() == 0; })) << "a place is lost";
  }

 private:
  static absl::StatusOr<Barrier> OpenIn(Process& process) {
    return Barrier::Open(process, "kill.barrier", 2, {.create = true, .transient = true});
  }

  const bool last_;
  std::unique_ptr<Barrier> barrier_;
  std::optional<Barrier> peer_, other_;
  std::atomic<bool> comes_ = false;
  std::atomic<uint32_t> round_ = 0;
  std::optional<Beside> waits_;
};

MAILRAIL_KILL_SCENARIO(ComeToBarrierLast, Meets, true);
MAILRAIL_KILL_SCENARIO(ComeToBarrierFirst, Meets, false);

// In a monitor. The victim waits to be notified, or notifies; so does the peer.
class InMonitor : public Scenario {
 public:
  InMonitor(World* world, bool notifies) : Scenario(world), notifies_(notifies) {}

  void Prepare() override {
    Attach();
    monitor_ = Must(OpenIn(*process_));
    SleepAtOnce(*process_);
  }
  void Act() override {
    absl::StatusOr<Monitor::Entry> entry = monitor_->Enter(GoOnDeadline());
    if (!entry.ok()) Victim::Fail(entry.status().ToString());
    page().attempted = 1;
    const absl::Status status = notifies_ ? entry->NotifyOne(0) : entry->Wait(0, GoOnDeadline());
    if (!status.ok()) Victim::Fail(status.ToString());
    page().told = 1;
  }
  void Leave() override {
    monitor_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    peer_.emplace(OpenIn(world_.peer()).value());
    other_.emplace(OpenIn(world_.other()).value());
    // The victim comes before the peer.
    waits_.emplace([this] {
      if (!notifies_) WaitForVictim();
      absl::StatusOr<Monitor::Entry> entry = peer_->Enter(GoOnDeadline());
      EXPECT_TRUE(entry.ok()) << entry.status();
      if (!entry.ok()) return;
      entered_ = true;
      const absl::Status status = entry->Wait(0, GoOnDeadline());
      EXPECT_TRUE(status.ok()) << status;
    });
    if (notifies_) {
      Soon([this] { return entered_.load(); });
      return waits_->WaitUntilAsleep();
    }
    notifier_.emplace([this] {
      WaitForVictim();
      Notify();
      const auto over = [this] { return page().told == 1 || page().struck_at_ns != 0; };
      Soon([&] { return over() || waits_->done(); });
      // It was the peer's.
      if (!over()) Notify();
    });
  }
  // One that was stopped goes on to wait.
  void Meanwhile() override {
    if (!notifies_ && page().told == 0 && VictimIsStill()) Notify();
  }
  void After(bool killed) override {
    EXPECT_TRUE(killed || page().told == 1);
    notifier_.reset();
    // Whatever the victim was notified of, or has died before it notified.
    while (!waits_->done()) {
      Soon([this] { return entered_ || waits_->done(); });
      waits_->WaitUntilAsleep();
      if (!waits_->done()) Notify();
      Soon([this] { return waits_->done(); });
      if (HasFailure()) break;
    }
    waits_.reset();
    const Beside in_thread(
        [this] { EXPECT_TRUE(other_->Enter(GoOnDeadline()).ok()) << "the monitor is not free"; });
  }

 private:
  static bool HasFailure() { return ::testing::Test::HasFailure(); }
  static absl::StatusOr<Monitor> OpenIn(Process& process) {
    return Monitor::Open(process, "kill.monitor", {"changed"}, {.create = true, .transient = true});
  }
  bool VictimIsStill() const { return IsStill(absl::StrCat("/proc/", victim_.pid(), "/stat")); }
  void WaitForVictim() const {
    Soon([this] { return page().struck_at_ns != 0 || (page().attempted == 1 && VictimIsStill()); });
  }
  void Notify() {
    const Beside in_thread([this] {
      absl::StatusOr<Monitor::Entry> entry = other_->Enter(GoOnDeadline());
      EXPECT_TRUE(entry.ok()) << entry.status();
      EXPECT_TRUE(!entry.ok() || entry->NotifyOne(0).ok());
    });
  }

  const bool notifies_;
  std::unique_ptr<Monitor> monitor_;
  std::optional<Monitor> peer_, other_;
  std::atomic<bool> entered_ = false;
  std::optional<Beside> waits_, notifier_;
};

MAILRAIL_KILL_SCENARIO(NotifyInMonitor, InMonitor, true);
MAILRAIL_KILL_SCENARIO(WaitInMonitor, InMonitor, false);

}  // namespace
}  // namespace mailrail
