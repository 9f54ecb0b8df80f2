#include "tests/kill/driver.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/fd.h"
#include "tests/support/cluster.h"
#include "tests/support/require.h"

namespace mailrail {
namespace {

std::string Where() {
  char name[200];
  const void* const where = Victim::page().where;
  if (where == nullptr) return "no step";
  return absl::Symbolize(static_cast<const char*>(where) - 1, name, sizeof(name)) ? name : "?";
}

// The agent of all tests, and what they add up to.
class Everything : public ::testing::Environment {
 public:
  void SetUp() override {
    // The symbolizer keeps what it opens.
    Victim::page().where = reinterpret_cast<const void*>(&Where);
    Where();
    auto cluster = Cluster::Start({"alpha"}, Agents::kKept);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
  }

  void TearDown() override {
    if (cluster_ == nullptr) return;
    EXPECT_TRUE(cluster_->FirstAgentRuns("alpha")) << "an agent or keeper has died";
    cluster_.reset();
    absl::PrintF("[kill] %d scenarios, %d steps, %d cases (%d killed, %d stopped), %.0f s\n",
                 scenarios, steps, kills + stops, kills, stops, seconds);
    if (noticed_ms.empty()) return;
    Print("death noticed by a watcher", &noticed_ms);
    Print("death noticed by the kernel's pidfd alone", &bare_ms);
    if (!recovered_ms.empty()) Print("what the dead held was had again", &recovered_ms);
    // Not p99, since this machine may do other things.
    EXPECT_LE(noticed_ms[noticed_ms.size() / 2], 5);
    EXPECT_TRUE(recovered_ms.empty() || recovered_ms[recovered_ms.size() / 2] <= 5);
  }

  Cluster* cluster() { return cluster_.get(); }

  int scenarios = 0;
  uint64_t steps = 0, kills = 0, stops = 0;
  double seconds = 0;
  std::vector<double> noticed_ms;
  std::vector<double> recovered_ms;
  std::vector<double> bare_ms;  // of deaths in between, as BareDeathMs says

 private:
  // Sorts them too.
  static void Print(const char* what, std::vector<double>* ms) {
    std::sort(ms->begin(), ms->end());
    const size_t last = ms->size() - 1;
    absl::PrintF("[kill] %s: p50 %.2f ms, p99 %.2f ms, at most %.2f ms; %d of %d after 5 ms\n",
                 what, (*ms)[last / 2], (*ms)[last * 99 / 100], ms->back(),
                 std::count_if(ms->begin(), ms->end(), [](double each) { return each > 5; }),
                 ms->size());
  }

  std::unique_ptr<Cluster> cluster_;
};

Everything* const everything = [] {
  auto* const made = new Everything;
  ::testing::AddGlobalTestEnvironment(made);  // which owns it
  return made;
}();

// Receives what comes to the witness until it is told of the victim's end.
class Witness {
 public:
  Witness(Receiver* inbox, const ProcessId& victim, Scenario* scenario)
      : thread_([=, this] {
          while (!give_up_) {
            const absl::StatusOr<Message> message =
                inbox->Receive(absl::Now() + absl::Milliseconds(200));
            if (absl::IsDeadlineExceeded(message.status())) continue;
            EXPECT_TRUE(message.ok()) << message.status();
            if (!message.ok()) return;
            EXPECT_EQ(message->sender(), victim);
            if (message->end() == EndReason::kNone) {
              scenario->OnMessage(*message);
              continue;
            }
            told_at_ns_ = MonotonicNs();
            reason_ = message->end();
            return;
          }
        }) {}
  ~Witness() {
    give_up_ = true;
    if (thread_.joinable()) thread_.join();
  }

  // Why the victim has ended; nothing when that is not told.
  std::optional<EndReason> WaitForEnd() {
    Soon([this] { return told_at_ns_ != 0; });
    give_up_ = true;
    thread_.join();
    return reason_;
  }
  int64_t told_at_ns() const { return told_at_ns_; }

 private:
  std::atomic<bool> give_up_ = false;
  std::atomic<int64_t> told_at_ns_ = 0;
  std::optional<EndReason> reason_;
  std::thread thread_;
};

void RunVictim(Scenario& scenario, uint64_t at, Strike strike) {
  Page& page = Victim::page();
  const auto wait_for = [](const std::atomic<bool>& flag) {
    while (!flag) usleep(20);
  };
  scenario.Prepare();
  const std::string id = scenario.VictimId();
  Require(id.size() < sizeof(page.id), "a short id");
  id.copy(page.id, id.size());
  page.phase = Page::kReady;
  wait_for(page.may_act);
  scenario.BeforeAct();
  Victim::BeginSteps(at, strike);
  scenario.Act();
  Victim::EndSteps();
  wait_for(page.may_finish);
  scenario.Finish();
  scenario.Leave();
}

// How long it takes until this program, which waits for a pidfd and for nothing else, knows of a
// death: what no watcher can do better, on this machine at this time.
double BareDeathMs() {
  Victim child([] {
    usleep(500);
    Victim::page().struck_at_ns = MonotonicNs();
    kill(getpid(), SIGKILL);
  });
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, child.pid(), 0)));
  pollfd entry{pidfd.get(), POLLIN, 0};
  Require(poll(&entry, 1, 10000) == 1, "poll");
  return static_cast<double>(MonotonicNs() - Victim::page().struck_at_ns) / 1e6;
}

// One case; whether the step was reached, and the victim struck there.
bool RunCase(World* world, Scenario* scenario, uint64_t at, Strike strike) {
  Page& page = Victim::page();
  Victim victim([&] { RunVictim(*scenario, at, strike); });
  const auto failed = [&page] { return page.phase == Page::kFailed; };
  const auto ended = [&] { return failed() || victim.Look() == Victim::State::kDead; };
  EXPECT_TRUE(Soon([&] { return page.phase == Page::kReady || ended(); }));
  std::optional<Witness> witness;
  if (page.phase == Page::kReady && page.id[0] != '\0') {
    const absl::StatusOr<ProcessId> id = ProcessId::Parse(page.id);
    scenario->set_victim(*id);
    const absl::Status watched = world->witness().Watch(*id);
    EXPECT_TRUE(watched.ok()) << watched;
    witness.emplace(&world->witness().inbox(), *id, scenario);
  }
  scenario->Ready();
  page.may_act = true;
  EXPECT_TRUE(
      Soon([&] { return page.phase != Page::kReady || victim.Look() != Victim::State::kRuns; }));
  const Victim::State state = victim.Look();
  const bool struck = page.struck_at_ns != 0;
  const testing::ScopedTrace trace(__FILE__, __LINE__, absl::StrCat("step ", at, " in ", Where()));
  scenario->During(state == Victim::State::kDead);
  page.may_finish = true;
  if (struck && strike == Strike::kStop) victim.Continue();
  EXPECT_TRUE(Soon([&] {
    scenario->Meanwhile();
    return victim.Look() == Victim::State::kDead;
  })) << "the victim hangs";
  const int status = victim.Wait();
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  EXPECT_EQ(killed, struck && strike == Strike::kKill);
  EXPECT_TRUE(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
      << "wait status " << status << ": " << page.complaint;
  if (witness.has_value()) {
    const std::optional<EndReason> reason = witness->WaitForEnd();
    EXPECT_TRUE(reason.has_value()) << "nobody was told of the victim's end";
    if (killed) {
      EXPECT_TRUE(scenario->MayEnd(reason.value_or(EndReason::kNone)))
          << static_cast<int>(reason.value_or(EndReason::kNone));
      everything->noticed_ms.push_back(
          static_cast<double>(witness->told_at_ns() - page.struck_at_ns) / 1e6);
    }
  }
  scenario->After(killed);
  return struck;
}

// Everything is as it was before.
void ExpectNothingIsLeft(World* world, const Account& before) {
  world->ExpectNothingIsLeft();
  std::string difference;
  Soon([&] {
    difference = world->TakeAccount().Difference(before);
    if (!difference.empty()) world->ExpectNothingIsLeft();
    return difference.empty();
  });
  EXPECT_EQ(difference, "");
}

// What is there when the end of the last victim has been seen to.
Account SettledAccount(World* world) {
  Account account;
  int64_t since = MonotonicNs();
  Soon([&] {
    world->ExpectNothingIsLeft();
    Account now = world->TakeAccount();
    if (account.processes.empty() || !now.Difference(account).empty()) {
      account = std::move(now);
      since = MonotonicNs();
    }
    return MonotonicNs() - since > 250'000'000;
  });
  return account;
}

uint64_t Every() {
  const char* const text = getenv("MAILRAIL_KILL_EVERY");
  uint64_t every = 1;
  Require(text == nullptr || (absl::SimpleAtoi(text, &every) && every > 0), "MAILRAIL_KILL_EVERY");
  return every;
}

}  // namespace

void NoteRecovery() {
  everything->recovered_ms.push_back(
      static_cast<double>(MonotonicNs() - Victim::page().struck_at_ns) / 1e6);
}

void StrikeAtEachStep(const std::string& name, Strike strike, const MakeScenario& make) {
  const int64_t start = MonotonicNs();
  World world(everything->cluster());
  const auto run = [&](uint64_t at, Strike how) {
    return RunCase(&world, make(&world).get(), at, how);
  };
  // Twice without harm: what is made once is made in the first.
  run(0, Strike::kNone);
  const Account before = SettledAccount(&world);
  const uint64_t once = Victim::page().steps;
  run(0, Strike::kNone);
  const uint64_t steps = std::max<uint64_t>(once, Victim::page().steps);
  EXPECT_GT(steps, 0u);
  ExpectNothingIsLeft(&world, before);
  uint64_t cases = 0;
  for (uint64_t at = 1; at <= steps && !::testing::Test::HasFailure(); at += Every()) {
    SCOPED_TRACE(absl::StrCat("at step ", at, " of ", steps));
    const int64_t case_start = MonotonicNs();
    // What a step does may depend on the moment (a wait more, a wake-up less), so that one at the
    // end is not reached each time.
    bool struck = false;
    for (int tries = 0; tries < 3 && !struck && !::testing::Test::HasFailure(); ++tries) {
      struck = run(at, strike);
      ExpectNothingIsLeft(&world, before);
    }
    cases += struck;
    if (getenv("MAILRAIL_KILL_VERBOSE") != nullptr) {
      absl::PrintF("[step] %s step %d in %s: %.1f ms; death noticed %.2f ms\n", name, at, Where(),
                   static_cast<double>(MonotonicNs() - case_start) / 1e6,
                   everything->noticed_ms.empty() ? 0 : everything->noticed_ms.back());
    }
    if (struck && strike == Strike::kKill) everything->bare_ms.push_back(BareDeathMs());
  }
  const double seconds = static_cast<double>(MonotonicNs() - start) / 1e9;
  absl::PrintF("[kill] %-24s %3d steps, %3d cases %s, %.1f s\n", name, steps, cases,
               strike == Strike::kKill ? "killed" : "stopped", seconds);
  std::fflush(stdout);
  EXPECT_GE(2 * cases, steps / Every()) << "most steps were not reached";
  everything->seconds += seconds;
  (strike == Strike::kKill ? everything->kills : everything->stops) += cases;
  if (strike == Strike::kKill) {
    ++everything->scenarios;
    everything->steps += steps;
  }
}

}  // namespace mailrail
