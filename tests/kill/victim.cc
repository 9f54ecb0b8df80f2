#include "tests/kill/victim.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/base/step.h"
#include "tests/support/require.h"

#ifndef MAILRAIL_STEPS
#error "there are steps with --config=steps alone"
#endif

namespace mailrail {
namespace {

template <int kSignal>
void StrikeHere(const void* where) {
  Page& page = Victim::page();
  page.where = where;
  page.struck_at_ns = MonotonicNs();
  kill(getpid(), kSignal);
}

}  // namespace

Page& Victim::page() {
  static void* const memory =
      mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *static_cast<Page*>(memory);
}

Victim::Victim(absl::FunctionRef<void()> body) {
  memset(static_cast<void*>(&page()), 0, sizeof(Page));
  const pid_t parent = getpid();
  pid_ = fork();
  Require(pid_ >= 0, "fork");
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  close_range(3, ~0u, 0);
  body();
  page().phase = Page::kFinished;
  _exit(0);
}

Victim::~Victim() {
  if (dead_) return;
  kill(pid_, SIGKILL);
  Wait();
}

Victim::State Victim::Look() {
  siginfo_t info{};
  Require(
      waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0,
      "waitid");
  if (info.si_pid == 0) return State::kRuns;
  return info.si_code == CLD_STOPPED ? State::kStopped : State::kDead;
}

void Victim::Continue() {
  kill(pid_, SIGCONT);
  // What waitid says of the stop is taken back with it.
}

int Victim::Wait() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0) Require(errno == EINTR, "waitpid");
  dead_ = true;
  return status;
}

void Victim::BeginSteps(uint64_t at, Strike strike) {
  steps::Begin(strike == Strike::kNone ? 0 : at,
               strike == Strike::kStop ? StrikeHere<SIGSTOP> : StrikeHere<SIGKILL>);
}

void Victim::EndSteps() {
  page().steps = steps::End();
  page().phase = Page::kActed;
}

void Victim::Fail(absl::string_view complaint) {
  Page& to = page();
  const size_t size = std::min(complaint.size(), sizeof(to.complaint) - 1);
  memcpy(to.complaint, complaint.data(), size);
  to.complaint[size] = '\0';
  to.phase = Page::kFailed;
  _exit(3);
}

int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

void WaitUntilAsleep(const std::atomic<pid_t>& tid) {
  Soon([&tid] {
    if (tid == 0) return false;
    std::ifstream file(absl::StrCat("/proc/self/task/", tid.load(), "/stat"));
    std::string pid, name, state;
    return file >> pid >> name >> state && state == "S";
  });
}

bool Soon(absl::FunctionRef<bool()> condition) {
  const int64_t end = MonotonicNs() + 10'000'000'000;
  while (!condition()) {
    if (MonotonicNs() > end) return condition();
    usleep(50);
  }
  return true;
}

}  // namespace mailrail
