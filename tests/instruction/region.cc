#include "tests/instruction/region.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/debugging/symbolize.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/instruction/stepper.h"
#include "tests/support/body.h"
#include "tests/support/require.h"

namespace mailrail {
namespace {

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

uint64_t NumberFrom(const char* variable, uint64_t otherwise) {
  const char* const text = getenv(variable);
  uint64_t number = otherwise;
  Require(text == nullptr || absl::SimpleAtoi(text, &number), variable);
  return number;
}

// What all regions add up to.
class Everything : public ::testing::Environment {
 public:
  void SetUp() override {
    // The victim and who steps it take turns: on one processor that is four times as fast.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(std::max(sched_getcpu(), 0)), &one);
    sched_setaffinity(0, sizeof(one), &one);
    start_ = Now();
  }
  void TearDown() override {
    absl::PrintF("[instruction] %d regions, %d kills; %d interruptions; %.0f s\n", regions, kills,
                 interruptions, Now() - start_);
    if (::testing::GTEST_FLAG(filter) != "*" || kills == 0) return;
    EXPECT_GE(kills, AllRegions() ? 100000u : 20000u);
  }

  uint64_t regions = 0, kills = 0, interruptions = 0;

 private:
  double start_ = 0;
};

Everything* const everything = [] {
  auto* const made = new Everything;
  ::testing::AddGlobalTestEnvironment(made);  // which owns it
  return made;
}();

// A copy of this process that lives on. It ends with 0 when no expectation of its was in vain.
class Survivor {
 public:
  explicit Survivor(absl::FunctionRef<void()> body) {
    std::fflush(stdout);
    pid_ = CopyProcess();
    if (pid_ != 0) return;
    alarm(30);
    body();
    std::fflush(stdout);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  ~Survivor() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    Wait();
  }

  // In it: until Continue.
  static void Pause() { raise(SIGSTOP); }
  // Whether it pauses, and has not ended.
  bool WaitUntilPaused() { return WIFSTOPPED(Wait()); }
  void Continue() { kill(pid_, SIGCONT); }
  bool Succeeds() {
    const int status = Wait();
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  int Wait() {
    int status = 0;
    while (waitpid(pid_, &status, WUNTRACED) < 0) Require(errno == EINTR, "waitpid");
    if (!WIFSTOPPED(status)) pid_ = -1;
    return status;
  }

  pid_t pid_ = -1;
};

// The bounds of this program's code.
extern "C" const char __executable_start[];
extern "C" const char etext[];

// Whether an instruction is this program's, not of a shared library: how a clock is read takes many
// that change nothing.
bool IsOurs(const void* at) { return at >= __executable_start && at < etext; }

enum class Strike { kKill, kInterrupt };

// One region: goes through it once, instruction by instruction. What is struck at each of them is a
// copy, after which the memory is made again what it was.
class Cases {
 public:
  Cases(Region* region, Strike strike)
      : region_(*region),
        strike_(strike),
        victim_([this] { region_.Act(); }, [this] { region_.AfterAct(); }) {}

  // Returns how many instructions there are; failed() when there was a failure.
  uint64_t Run() {
    uint64_t instructions = 0;
    while (victim_.state() == SteppedProcess::State::kInFunction) {
      if (region_.MaySleep() && !IsOurs(victim_.at())) {
        victim_.StepOut();
        continue;
      }
      Save();
      std::unique_ptr<SteppedProcess> copy = victim_.Copy();
      at_ = victim_.at();
      if (strike_ == Strike::kKill) {
        copy->Kill();
        region_.SetCase(instructions, /*slept=*/false);
        failed_ = !Survivor([this] { region_.Check(/*killed=*/true); }).Succeeds();
      } else {
        Interrupt(copy.get(), instructions);
      }
      if (failed_) return instructions;
      Restore();
      victim_.Step();
      ++instructions;
    }
    // And as it is without harm.
    Finish(&victim_, instructions);
    if (!failed_ && !region_.slept()) {
      failed_ = !Survivor([this] {
                   if (strike_ == Strike::kInterrupt) region_.Meanwhile();
                   region_.Check(/*killed=*/false);
                 }).Succeeds();
    }
    return instructions;
  }

  bool failed() const { return failed_; }
  // The function in which the victim was struck last.
  std::string where() const {
    char name[200];
    return absl::Symbolize(at_, name, sizeof(name)) ? name : "?";
  }

 private:
  void Save() {
    memcpy(&page_, static_cast<const void*>(&Region::page()), sizeof(page_));
    region_.channel().Save();
  }
  void Restore() {
    memcpy(static_cast<void*>(&Region::page()), &page_, sizeof(page_));
    region_.channel().Restore();
  }
  // Lets it come to its end.
  void Finish(SteppedProcess* victim, uint64_t instructions) {
    if (victim->state() == SteppedProcess::State::kInFunction ||
        victim->state() == SteppedProcess::State::kReturned) {
      victim->Finish();
    }
    const SteppedProcess::State end = victim->state();
    const bool slept = end == SteppedProcess::State::kBeforeSleep;
    EXPECT_NE(end, SteppedProcess::State::kFailed) << "the victim has crashed";
    EXPECT_TRUE(!slept || region_.MaySleep()) << "the victim would sleep";
    failed_ = end == SteppedProcess::State::kFailed || (slept && !region_.MaySleep());
    victim->Kill();
    region_.SetCase(instructions, slept);
  }
  void Interrupt(SteppedProcess* victim, uint64_t instructions) {
    // What the other must know when it goes on: memory that both have.
    bool& slept = SharedFlag();
    Survivor other([&] {
      region_.Meanwhile();
      if (::testing::Test::HasFailure()) return;
      Survivor::Pause();
      region_.SetCase(instructions, slept);
      region_.Check(/*killed=*/false);
    });
    failed_ = !other.WaitUntilPaused();
    if (failed_) return;
    Finish(victim, instructions);
    slept = region_.slept();
    other.Continue();
    failed_ = !other.Succeeds() || failed_;
  }
  static bool& SharedFlag() {
    static void* const memory =
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return *static_cast<bool*>(memory);
  }

  Region& region_;
  const Strike strike_;
  SteppedProcess victim_;
  alignas(Page) char page_[sizeof(Page)];
  bool failed_ = false;
  const void* at_ = nullptr;
};

void StrikeAtEach(const std::string& name, Strike strike, const MakeRegion& make) {
  if (!SteppedProcess::Allowed()) GTEST_SKIP() << "processes must not trace each other here";
  memset(static_cast<void*>(&Region::page()), 0, sizeof(Page));
  const std::unique_ptr<Region> region = make();
  if (::testing::Test::HasFailure()) return;
  Cases cases(region.get(), strike);
  const uint64_t instructions = cases.Run();
  EXPECT_FALSE(cases.failed()) << name << ": after " << instructions << " instructions, in "
                               << cases.where();
  EXPECT_GT(instructions, 10u);
  EXPECT_TRUE(region->channel().OnlyUsedIsWritten()) << "there is more to restore";
  absl::PrintF("[instruction] %s: %d instructions, %d %s\n", name, instructions, instructions,
               strike == Strike::kKill ? "kills" : "interruptions");
  if (strike == Strike::kInterrupt) {
    everything->interruptions += instructions;
    return;
  }
  ++everything->regions;
  everything->kills += instructions;
}

}  // namespace

Received::Received(const Message& message)
    : sender(static_cast<size_t>(message.sender().pid() - Channel::IdOf(0).pid())),
      number(message.body().empty() ? FirstOf(sender) + message.sequence() - 1
                                    : NumberOf(message.body())),
      priority(message.priority()),
      size(message.body().size()),
      intact(IsIntact(message.body())),
      redelivered(message.redelivered()) {}

Page& Region::page() {
  static void* const memory =
      mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *static_cast<Page*>(memory);
}

void KillAtEachInstruction(const std::string& name, const MakeRegion& make) {
  StrikeAtEach(name, Strike::kKill, make);
}

void InterruptAtEachInstruction(const std::string& name, const MakeRegion& make) {
  StrikeAtEach(name, Strike::kInterrupt, make);
}

bool AllRegions() {
  static const bool all = NumberFrom("MAILRAIL_INSTRUCTION_ALL", 0) != 0;
  return all;
}

bool SomethingHasFailed() { return ::testing::Test::HasFailure(); }

int Rounds() {
  static const auto rounds = static_cast<int>(NumberFrom("MAILRAIL_INSTRUCTION_ROUNDS", 1));
  return rounds;
}

std::mt19937_64& Random() {
  static std::mt19937_64 engine = [] {
    const uint64_t seed = NumberFrom("MAILRAIL_TEST_SEED", std::random_device{}());
    if (Rounds() > 1) absl::PrintF("[instruction] seed %d\n", seed);
    return std::mt19937_64(seed);
  }();
  return engine;
}

}  // namespace mailrail
