// Child processes of tests that die at any instruction, and what they leave.
#ifndef MAILRAIL_CORE_LANE_CHILD_PROCESS_H_
#define MAILRAIL_CORE_LANE_CHILD_PROCESS_H_

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <functional>

#include "core/lane/lane_testing.h"

namespace mailrail {

// How many children are killed.
inline constexpr uint64_t kKills = 400 / kSlowdown;

// A forked process that runs a function and exits with 0. It inherits descriptors, but none of the
// lanes' mappings. It dies with the test. Move-only.
class ChildProcess {
 public:
  explicit ChildProcess(const std::function<void()>& body) {
    pid_ = fork();
    Require(pid_ >= 0, "fork");
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    _exit(0);
  }
  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ChildProcess& operator=(ChildProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~ChildProcess() { Kill(); }

  pid_t pid() const { return pid_; }

  // Waits until it stops or ends; returns its wait status.
  int WaitForChange() {
    int status = 0;
    while (waitpid(pid_, &status, WUNTRACED) < 0) Require(errno == EINTR, "waitpid");
    if (!WIFSTOPPED(status)) pid_ = -1;
    return status;
  }

  // Kills it at once; false when it had ended by itself, which is a failure of its own.
  bool Kill() {
    if (pid_ < 0) return false;
    kill(pid_, SIGKILL);
    int status = WaitForChange();
    while (WIFSTOPPED(status)) status = WaitForChange();
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

  // Whether it still runs; for loops that wait for something it does.
  bool Running() {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }

 private:
  pid_t pid_ = -1;
};

// In the child of StepThrough: the steps begin after this, and end with it.
inline void BeginSteps() { raise(SIGSTOP); }
[[noreturn]] inline void EndSteps() { _exit(0); }

enum class Steps { kDone, kRefused, kFailed };

// Runs `body` in a child process. After BeginSteps it is stopped after each instruction, and
// `after` is called: what the shared memory holds then is what a death there would leave. Once
// `after` has returned false the child runs to its end. kRefused where processes must not trace
// each other.
inline Steps StepThrough(const std::function<void()>& body, const std::function<bool()>& after) {
  ChildProcess child([&] {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(99);
    body();
  });
  for (;;) {
    const pid_t pid = child.pid();
    const int status = child.WaitForChange();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 99) return Steps::kRefused;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Steps::kDone;
    if (!WIFSTOPPED(status)) return Steps::kFailed;
    const int signal = WSTOPSIG(status);
    if (signal != SIGTRAP && signal != SIGSTOP) return Steps::kFailed;
    const auto request = after() ? PTRACE_SINGLESTEP : PTRACE_CONT;
    if (ptrace(request, pid, nullptr, nullptr) != 0) return Steps::kFailed;
  }
}

// Copies of shared memory as it was at one moment, to go on with in place of the dead.
class Snapshot {
 public:
  // The bytes of `memory` that count, by offset and size; the others stay zero. Returns the number
  // of the copy.
  size_t Add(const char* memory, size_t bytes,
             const std::vector<std::pair<size_t, size_t>>& ranges) {
    auto area = std::make_unique<Area>(memory, bytes);
    for (const auto& [offset, size] : ranges) {
      area->ranges.emplace_back(offset, std::string(size, '\0'));
    }
    areas_.push_back(std::move(area));
    return areas_.size() - 1;
  }

  // Whether the memory has changed since the last call, or from zeros.
  bool Changed() {
    bool changed = false;
    for (const auto& area : areas_) {
      for (auto& [offset, last] : area->ranges) {
        if (std::memcmp(area->memory + offset, last.data(), last.size()) == 0) continue;
        std::memcpy(last.data(), area->memory + offset, last.size());
        changed = true;
      }
    }
    return changed;
  }

  // Makes the copies what the memory was at the last call of Changed.
  void Restore() {
    for (const auto& area : areas_) {
      for (const auto& [offset, last] : area->ranges) {
        std::memcpy(area->copy.data() + offset, last.data(), last.size());
      }
    }
  }

  char* copy(size_t number) const { return areas_[number]->copy.data(); }

 private:
  struct Area {
    Area(const char* from, size_t bytes) : memory(from), copy(bytes) {}
    const char* const memory;
    GuardedMemory copy;
    std::vector<std::pair<size_t, std::string>> ranges;
  };

  std::vector<std::unique_ptr<Area>> areas_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CHILD_PROCESS_H_
