// Locks, semaphores, barriers, pipes and shared values under random kills and stops of those who
// hold, wait, write and read.
//
//   MAILRAIL_SOAK_SECONDS  how long, 20 without it; and the same again over two nodes
//   MAILRAIL_SOAK_SEED     whose schedule of kills and stops, a random one without it
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/kill/account.h"
#include "tests/soak/history.h"
#include "tests/soak/objects_load.h"
#include "tests/soak/schedule.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"
#include "tests/support/require.h"

namespace mailrail::soak {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kRoundNs = 3'000 * kMs;
constexpr Schedule::Rates kRates = {.min_wait_ns = 5 * kMs,
                                    .max_wait_ns = 60 * kMs,
                                    .min_stop_ns = kMs,
                                    .max_stop_ns = 200 * kMs,
                                    .stops_of_ten = 3};

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* const text = getenv(name);
  uint64_t value = otherwise;
  Require(text == nullptr || absl::SimpleAtoi(text, &value), name);
  return value;
}

// Of two nodes the agents are killed, too, one after so many strikes at processes.
constexpr uint64_t kStrikesBetweenAgents = 30;

using Work = void (*)(const ObjectsOrders& orders);

// A place for a worker.
struct Place {
  Work work;
  pid_t pid = -1;
  int64_t stopped_until_ns = 0;  // 0: it is not stopped
};

// A process without threads, which is not attached: its workers are forks of it.
class ObjectsSoak {
 public:
  // The objects are alpha's. With `far` every other one of those who lock, meet at the barrier, or
  // read the value, which has a name then, is on beta.
  ObjectsSoak(Cluster* cluster, bool far, uint64_t seed)
      : cluster_(cluster), far_(far), seed_(seed), strikes_(seed, std::size(kWorks), kRates) {
    void* const memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    Require(memory != MAP_FAILED, "mmap");
    board_ = new (memory) Board();
    for (const Work work : kWorks) places_.push_back({far ? OfFar(work) : work});
    Alone(MakeObjects);
  }
  ~ObjectsSoak() {
    for (const Place& place : places_) {
      if (place.pid < 0) continue;
      kill(place.pid, SIGKILL);
      waitpid(place.pid, nullptr, 0);
    }
    munmap(board_, sizeof(Board));
  }

  void RunRound() {
    // Nothing of the last round's lives is left.
    lives_ = 0;
    std::fill(std::begin(board_->written), std::end(board_->written), 0);
    std::fill(std::begin(board_->read), std::end(board_->read), 0);
    // One with a name stays, and its versions go on.
    if (!far_) board_->published = 0;
    board_->value_life = 0;
    board_->stage = ObjectsStage::kRun;
    for (size_t i = 0; i < places_.size(); ++i) Start(i);
    // By the schedule's time, not by the clock: so that the same seed has the same strikes.
    for (int64_t scheduled_ns = 0; scheduled_ns < kRoundNs;) {
      const Strike strike = strikes_.Next();
      scheduled_ns += strike.wait_ns;
      const int64_t at_ns = NowNs() + strike.wait_ns;
      while (NowNs() < at_ns) {
        Continue(NowNs());
        absl::SleepFor(absl::Nanoseconds(std::clamp<int64_t>(at_ns - NowNs(), 0, kMs)));
      }
      StrikeAt(strike);
      if (far_ && ++strikes_made_ % kStrikesBetweenAgents == 0) {
        cluster_->KillProper(++agent_kills_ % 2 == 0 ? "alpha" : "beta");
      }
    }
    Continue(INT64_MAX);
    const uint64_t ends = board_->ends;
    board_->stage = ObjectsStage::kWritersLeave;
    for (size_t i = 0; i < places_.size(); ++i) {
      if (LeavesFirst(places_[i].work)) Await(i);
    }
    // Behind all that was written.
    if (!Eventually([&] { return board_->ends > ends; })) Report("no end of file");
    board_->stage = ObjectsStage::kAllLeave;
    for (size_t i = 0; i < places_.size(); ++i) Await(i);
    Alone(CheckObjects);
    if (board_->lost_writes > reader_kills_) {
      Report(absl::StrCat(board_->lost_writes.load(), " writes are lost, and ", reader_kills_,
                          " readers were killed"));
    }
    CheckNothingIsLeft();
    ReportAll();
    ++rounds_;
  }

  Board& board() { return *board_; }
  uint64_t rounds() const { return rounds_; }
  uint64_t kills() const { return kills_; }
  uint64_t stops() const { return stops_; }
  uint64_t agent_kills() const { return agent_kills_; }

 private:
  static constexpr Work kWorks[] = {RunLocker,     RunLocker,      RunLocker,      RunLocker,
                                    RunLocker,     RunLocker,      RunParty,       RunParty,
                                    RunParty,      RunPipeWriter,  RunPipeWriter,  RunPipeReader,
                                    RunPipeReader, RunValueWriter, RunValueReader, RunValueReader};
  static_assert(std::size(kWorks) <= Board::kPlaces && kParties == 3);

  static Work OfFar(Work work) {
    if (work == RunValueWriter) return RunNamedValueWriter;
    return work == RunValueReader ? RunNamedValueReader : work;
  }
  static bool LeavesFirst(Work work) { return work != RunLocker && work != RunPipeReader; }

  pid_t Fork(Work work, size_t place) {
    const uint32_t life = ++lives_;
    Require(life < Board::kLives, "a place for each life of a round");
    const pid_t parent = getpid();
    const pid_t pid = fork();
    Require(pid >= 0, "fork");
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close_range(3, ~0u, 0);
    ObjectsOrders orders;
    orders.far = far_ && place % 2 == 1 &&
                 (work == RunLocker || work == RunParty || work == RunNamedValueReader);
    orders.socket = cluster_->Socket(orders.far ? "beta" : "alpha");
    orders.seed = (seed_ * 1'000'003 + rounds_) * 1'000'003 + life;
    orders.life = life;
    orders.place = place;
    orders.board = board_;
    work(orders);
    _exit(0);
  }
  // In a process of its own, beside no other.
  void Alone(Work work) {
    const pid_t pid = Fork(work, Board::kPlaces - 1);
    int status = 0;
    Require(waitpid(pid, &status, 0) == pid, "waitpid");
    if (status != 0) Report(absl::StrCat("wait status ", status));
  }
  void Start(size_t place) {
    board_->places[place].has_unit = false;
    board_->places[place].doomed = false;
    places_[place].stopped_until_ns = 0;
    places_[place].pid = Fork(places_[place].work, place);
  }
  void StrikeAt(const Strike& strike) {
    Place& place = places_[strike.target];
    if (strike.stop) {
      kill(place.pid, SIGSTOP);
      place.stopped_until_ns = NowNs() + strike.stop_ns;
      ++stops_;
      return;
    }
    board_->places[strike.target].doomed = true;
    kill(place.pid, SIGKILL);
    int status = 0;
    Require(waitpid(place.pid, &status, 0) == place.pid, "waitpid");
    if (!WIFSIGNALED(status)) Report(absl::StrCat("a worker has ended by itself: ", status));
    ++kills_;
    reader_kills_ += place.work == RunPipeReader;
    Start(strike.target);
  }
  // Those who have been stopped for long enough.
  void Continue(int64_t now_ns) {
    for (Place& place : places_) {
      if (place.stopped_until_ns == 0 || now_ns < place.stopped_until_ns) continue;
      kill(place.pid, SIGCONT);
      place.stopped_until_ns = 0;
    }
  }
  void Await(size_t index) {
    Place& place = places_[index];
    if (place.pid < 0) return;
    int status = 0;
    if (!Eventually([&] { return waitpid(place.pid, &status, WNOHANG) == place.pid; })) {
      Report(absl::StrCat("the worker at place ", index, " hangs"));
      kill(place.pid, SIGKILL);
      waitpid(place.pid, &status, 0);
    }
    if (status != 0) Report(absl::StrCat("wait status ", status, " at place ", index));
    place.pid = -1;
  }
  void CheckNothingIsLeft() {
    std::vector<pid_t> pids = {cluster_->Agent("alpha").pid()};
    if (far_) {
      // An agent that was started again has not yet all of its threads, and their memory.
      pids.push_back(cluster_->Agent("beta").pid());
    } else {
      pids.push_back(cluster_->Proper("alpha"));
    }
    if (rounds_ == 0) {
      // When the ends of all have been seen to.
      int64_t since_ns = NowNs();
      before_ = Account::Take(pids);
      Eventually([&] {
        Account now = Account::Take(pids);
        if (!now.Difference(before_).empty()) {
          before_ = std::move(now);
          since_ns = NowNs();
        }
        return NowNs() - since_ns > 1000 * kMs;
      });
      return;
    }
    std::string difference;
    if (!Eventually([&] {
          difference = Account::Take(pids).Difference(before_);
          return difference.empty();
        })) {
      Report(absl::StrCat("of the keeper (0) and ", far_ ? "beta's" : "the agent",
                          " (1): ", difference));
    }
  }
  void Report(const std::string& violation) { board_->Report(violation); }
  void ReportAll() {
    for (; reported_ < std::min<uint64_t>(board_->violations, Board::kTexts); ++reported_) {
      ADD_FAILURE() << "seed " << seed_ << ", round " << rounds_ + 1 << ": "
                    << board_->texts[reported_];
    }
  }

  Cluster* const cluster_;
  const bool far_;
  const uint64_t seed_;
  Schedule strikes_;
  Board* board_;
  std::vector<Place> places_;
  uint32_t lives_ = 0;
  uint64_t strikes_made_ = 0, agent_kills_ = 0;
  uint64_t rounds_ = 0, kills_ = 0, stops_ = 0, reader_kills_ = 0, reported_ = 0;
  Account before_;
};

void Soak(bool far) {
  const uint64_t seed = Setting("MAILRAIL_SOAK_SEED", std::random_device{}());
  const uint64_t seconds = Setting("MAILRAIL_SOAK_SECONDS", 20);
  const char* const what = far ? "objects of two nodes" : "objects";
  absl::PrintF("[soak] %s: seed %d, %d s\n", what, seed, seconds);
  std::fflush(stdout);
  auto cluster = Cluster::Start(far ? std::vector<std::string>{"alpha", "beta"}
                                    : std::vector<std::string>{"alpha"});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ObjectsSoak soak(cluster->get(), far, seed);
  const int64_t end_ns = NowNs() + static_cast<int64_t>(seconds) * 1000 * kMs;
  do {
    soak.RunRound();
  } while (NowNs() < end_ns && !testing::Test::HasFailure());
  Board& board = soak.board();
  absl::PrintF(
      "[soak] %s: %d locks, %d looks by readers, %d units, %d rounds of the barrier, %d "
      "writes, %d versions; %d deaths told to the next owner, %d writes gone with their readers\n",
      what, board.locks.load(), board.looks.load(), board.units.load(), board.rounds.load(),
      board.writes.load(), board.versions.load(), board.deaths_told.load(),
      board.lost_writes.load());
  absl::PrintF("[soak] %s: seed %d: %d kills, %d of agents, %d stops, %d violations\n", what, seed,
               soak.kills(), soak.agent_kills(), soak.stops(), board.violations.load());
  for (const auto* done : {&board.locks, &board.looks, &board.units, &board.rounds, &board.writes,
                           &board.versions, &board.deaths_told}) {
    EXPECT_GT(*done, 0u);
  }
}

TEST(ObjectsSoakTest, KillsAndStopsBreakNoPromise) { Soak(/*far=*/false); }
TEST(ObjectsSoakTest, NorOnTwoNodes) { Soak(/*far=*/true); }

}  // namespace
}  // namespace mailrail::soak
