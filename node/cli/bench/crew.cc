#include "node/cli/bench/crew.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "node/cli/bench/exchange.h"

namespace mailrail::bench {
namespace {

constexpr int64_t kLineNs = 10'000'000;
constexpr int64_t kFutexNs = 100'000'000;
constexpr size_t kMaxLines = 8;
constexpr int kYieldsBeforeSleep = 2000;
// Long: who waits must not take time from those who are measured.
constexpr absl::Duration kMeetingSleep = absl::Milliseconds(2);

volatile sig_atomic_t interrupted = 0;

std::vector<int> AllowedProcessors() {
  std::vector<int> allowed;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) allowed.push_back(i);
    }
  }
  return allowed;
}

void RunOn(const std::vector<int>& processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int one : processors) CPU_SET(one, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

std::string CoreOf(int processor) {
  std::string core;
  for (const char* part : {"physical_package_id", "core_id"}) {
    std::string text;
    std::ifstream(absl::StrCat("/sys/devices/system/cpu/cpu", processor, "/topology/", part)) >>
        text;
    absl::StrAppend(&core, text.empty() ? absl::StrCat("?", processor) : text, "/");
  }
  return core;
}

// Makes SIGINT and SIGTERM be noted, as long as it lives.
class NotedSignals {
 public:
  NotedSignals() {
    interrupted = 0;
    struct sigaction note = {};
    note.sa_handler = [](int) { interrupted = 1; };
    sigaction(SIGINT, &note, &before_[0]);
    sigaction(SIGTERM, &note, &before_[1]);
  }
  ~NotedSignals() { Restore(); }
  void Restore() const {
    sigaction(SIGINT, &before_[0], nullptr);
    sigaction(SIGTERM, &before_[1], nullptr);
  }

 private:
  struct sigaction before_[2];
};

template <size_t N>
void CopyText(const std::string& text, char (&to)[N]) {
  const size_t size = std::min(text.size(), N - 1);
  memcpy(to, text.data(), size);
  to[size] = '\0';
}

}  // namespace

struct Crew::Shared {
  ExchangeWords words;
  alignas(128) std::atomic<uint32_t> met{0};
  uint32_t lines[kMaxLines] = {};
  uint32_t line_count = 0;
  uint32_t futexes[kMaxLines] = {};
  uint32_t futex_count = 0;
  char ids[kMaxMembers][160] = {};
  struct Failure {
    int code = 0;
    char message[400] = {};
  } failures[kMaxMembers];
};

Crew::Crew(AttachOptions options)
    : options_(std::move(options)),
      processors_(AllowedProcessors()),
      shared_(std::make_unique<SharedWithForks<Shared>>()) {}

Crew::~Crew() = default;

void Crew::Add(const std::string& role, std::function<absl::Status()> work) {
  members_.push_back({role, std::move(work)});
}

absl::Status Crew::RunMember(size_t index) {
  self_ = index;
  return members_[index].work();
}

absl::Status Crew::Run() {
  if (members_.size() > kMaxMembers) {
    return absl::InvalidArgumentError(absl::StrCat("at most ", kMaxMembers, " processes"));
  }
  const NotedSignals signals;
  const pid_t caller = getpid();
  std::vector<pid_t> pids;
  absl::Status result;
  for (size_t i = 0; i < members_.size(); ++i) {
    const pid_t pid = fork();
    if (pid < 0) {
      result = absl::ErrnoToStatus(errno, "cannot start a process");
      break;
    }
    if (pid == 0) {
      signals.Restore();
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != caller) _exit(0);
      const absl::Status status = RunMember(i);
      (*shared_)->failures[i].code = static_cast<int>(status.code());
      CopyText(std::string(status.message()), (*shared_)->failures[i].message);
      _exit(status.ok() ? 0 : 1);
    }
    pids.push_back(pid);
  }
  const auto kill_all = [&pids] {
    for (const pid_t pid : pids) {
      if (pid > 0) kill(pid, SIGKILL);
    }
  };
  if (!result.ok()) kill_all();
  for (size_t left = pids.size(); left > 0;) {
    if (interrupted != 0 && result.ok()) {
      result = absl::UnavailableError("interrupted");
      kill_all();
    }
    int ended = 0;
    const pid_t pid = waitpid(-1, &ended, 0);
    const auto at = std::find(pids.begin(), pids.end(), pid);
    if (pid <= 0 || at == pids.end()) continue;  // a signal, or no member
    const size_t index = static_cast<size_t>(at - pids.begin());
    *at = 0;
    --left;
    if ((WIFEXITED(ended) && WEXITSTATUS(ended) == 0) || !result.ok() || interrupted != 0) continue;
    const Shared::Failure& failure = (*shared_)->failures[index];
    result = WIFEXITED(ended)
                 ? absl::Status(static_cast<absl::StatusCode>(failure.code), failure.message)
                 : absl::InternalError(absl::StrCat("killed by signal ", WTERMSIG(ended)));
    result =
        absl::Status(result.code(), absl::StrCat(members_[index].role, ": ", result.message()));
    kill_all();
  }
  return result;
}

Topology Crew::topology() const {
  Topology topology;
  topology.processors = static_cast<int>(processors_.size());
  const bool pinned = pin_ && members_.size() <= processors_.size();
  for (size_t i = 0; i < members_.size(); ++i) {
    topology.places.push_back({members_[i].role, pinned ? processors_[i] : -1});
  }
  if (processors_.size() < 2) {
    topology.first_two = "one processor";
  } else {
    topology.first_two =
        CoreOf(processors_[0]) == CoreOf(processors_[1]) ? "one core" : "two cores";
  }
  return topology;
}

std::vector<uint32_t> Crew::lines_ns() const {
  return {(*shared_)->lines, (*shared_)->lines + (*shared_)->line_count};
}

std::vector<uint32_t> Crew::futexes_ns() const {
  return {(*shared_)->futexes, (*shared_)->futexes + (*shared_)->futex_count};
}

void Crew::Pin(bool whatever) {
  if (processors_.empty()) return;
  if (whatever || (pin_ && members_.size() <= processors_.size())) {
    RunOn({processors_[self_ % processors_.size()]});
  } else {
    RunOn(processors_);
  }
}

absl::StatusOr<Process> Crew::Join() {
  // Before the pinning, which an agent that is started here would inherit.
  absl::StatusOr<Process> process = Process::Attach(options_);
  if (!process.ok()) return process;
  CopyText(process->id().ToString(), (*shared_)->ids[self_]);
  Pin(false);
  Meet();
  return process;
}

void Crew::JoinWithoutAttaching() {
  Pin(false);
  Meet();
}

ProcessId Crew::IdOf(size_t index) const {
  return ProcessId::Parse((*shared_)->ids[index]).value_or(ProcessId());
}

void Crew::Meet() {
  const uint32_t all = ++meetings_ * static_cast<uint32_t>(members_.size());
  ++(*shared_)->met;
  for (int yields = 0; (*shared_)->met < all; ++yields) {
    if (yields < kYieldsBeforeSleep) {
      sched_yield();
    } else {
      absl::SleepFor(kMeetingSleep);
    }
  }
}

void Crew::MeasureLine(bool futex) {
  Meet();
  if (self_ < 2 && members_.size() >= 2) {
    Shared& shared = **shared_;
    const ExchangeSide side = self_ == 0 ? ExchangeSide::kFirst : ExchangeSide::kSecond;
    Pin(true);
    const uint32_t line = Exchange(shared.words, side, ExchangeWait::kSpin, kLineNs);
    if (self_ == 0 && shared.line_count < kMaxLines) shared.lines[shared.line_count++] = line;
    Pin(false);
  }
  Meet();
  if (!futex) return;
  if (self_ < 2 && members_.size() >= 2) {
    Shared& shared = **shared_;
    const ExchangeSide side = self_ == 0 ? ExchangeSide::kFirst : ExchangeSide::kSecond;
    const uint32_t exchange = Exchange(shared.words, side, ExchangeWait::kFutex, kFutexNs);
    if (self_ == 0 && shared.futex_count < kMaxLines) {
      shared.futexes[shared.futex_count++] = exchange;
    }
  }
  Meet();
}

}  // namespace mailrail::bench
