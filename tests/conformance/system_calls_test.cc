// What costs no system call: counted by the kernel, one process tracing another.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"

namespace mailrail {
namespace {

constexpr int kRounds = 21;
constexpr uint64_t kMessagesInARound = 1000;
// So far the sender may be ahead: its lane never fills.
constexpr uint64_t kAhead = 32;
// What the sender calls between rounds, and nobody else does.
constexpr long kMarker = SYS_getpgrp;

// What both processes see: how many messages were received.
class SharedCount {
 public:
  SharedCount() {
    void* const memory =
        mmap(nullptr, sizeof(Count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    count_ = new (memory) Count(0);
  }
  ~SharedCount() { munmap(count_, sizeof(Count)); }
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;

  std::atomic<uint64_t>& operator*() { return *count_; }

 private:
  using Count = std::atomic<uint64_t>;
  Count* count_;
};

// The traced process: attaches, and sends round after round. Never returns.
[[noreturn]] void SendRounds(const std::string& socket, const ProcessId& to,
                             std::atomic<uint64_t>& received) {
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(2);
  raise(SIGSTOP);
  AttachOptions options;
  options.socket = socket;
  options.autostart = false;
  absl::StatusOr<Process> process = Process::Attach(options);
  if (!process.ok()) _exit(3);
  absl::StatusOr<Sender> sender = process->Connect(to);
  if (!sender.ok()) _exit(4);
  uint64_t sent = 0;
  for (int round = 0; round < kRounds; ++round) {
    syscall(kMarker);
    for (uint64_t i = 0; i < kMessagesInARound; ++i) {
      while (sent - received.load(std::memory_order_acquire) >= kAhead) {
      }
      if (!sender->Send("sixteen bytes  .").ok()) _exit(5);
      ++sent;
    }
  }
  syscall(kMarker);
  _exit(0);
}

// The traced process: attaches, and locks and releases what nobody else wants. Never returns.
[[noreturn]] void LockRounds(const std::string& socket) {
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(2);
  raise(SIGSTOP);
  AttachOptions options;
  options.socket = socket;
  options.autostart = false;
  absl::StatusOr<Process> process = Process::Attach(options);
  if (!process.ok()) _exit(3);
  absl::StatusOr<Mutex> mutex = Mutex::Open(*process, "mutex");
  absl::StatusOr<SharedMutex> shared = SharedMutex::Open(*process, "shared");
  absl::StatusOr<Semaphore> semaphore = Semaphore::Open(*process, "semaphore");
  absl::StatusOr<Condition> condition = Condition::Open(*process, "condition");
  if (!mutex.ok() || !shared.ok() || !semaphore.ok() || !condition.ok()) _exit(4);
  const auto all = [&] {
    for (int i = 0; i < 100; ++i) {
      if (!mutex->Lock().ok() || !condition->NotifyOne().ok() || !mutex->Unlock().ok()) _exit(5);
      if (!shared->Lock().ok() || !shared->Unlock().ok()) _exit(6);
      if (!shared->LockShared().ok() || !shared->UnlockShared().ok()) _exit(7);
      if (!semaphore->Acquire().ok()) _exit(8);  // and released
      if (!semaphore->Wait().ok() || !semaphore->Post().ok()) _exit(9);
    }
  };
  all();  // what is set up on first use
  for (int round = 0; round < kRounds; ++round) {
    syscall(kMarker);
    all();
  }
  syscall(kMarker);
  _exit(0);
}

// Runs the traced child until it ends. How many system calls there were between one marker and the
// next; `end` gets the wait status.
std::vector<uint64_t> CountBetweenMarkers(pid_t child, int* end) {
  std::vector<uint64_t> counts;
  bool counting = false;
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL),
            0);
  long deliver = 0;
  while (ptrace(PTRACE_SYSCALL, child, nullptr, deliver) == 0) {
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) break;
    deliver = 0;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      deliver = WSTOPSIG(status);
      continue;
    }
    __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) <= 0) break;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    if (info.entry.nr == static_cast<unsigned long>(kMarker)) {
      counts.push_back(0);
      counting = true;
    } else if (counting) {
      ++counts.back();
    }
  }
  *end = status;
  if (!counts.empty()) counts.pop_back();  // after the last marker
  return counts;
}

TEST(SystemCallsTest, ASenderMakesNoneWhileItsReceiverIsAwake) {
  auto cluster = Cluster::Start({"alpha"});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const std::string socket = (*cluster)->Socket("alpha");
  AttachOptions options;
  options.socket = socket;
  options.autostart = false;
  absl::StatusOr<Process> process = Process::Attach(options);
  ASSERT_TRUE(process.ok()) << process.status();
  SharedCount received;

  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) SendRounds(socket, process->id(), *received);
  std::thread receiver([&] {
    process->inbox().set_wait_mode(WaitMode::kSpin);
    while (*received < kRounds * kMessagesInARound) {
      const absl::StatusOr<Message> message = process->inbox().Receive(Patience());
      if (!message.ok()) {
        ADD_FAILURE() << message.status();
        return;
      }
      ++*received;
    }
  });
  int end = 0;
  std::vector<uint64_t> counts = CountBetweenMarkers(child, &end);
  receiver.join();
  ASSERT_TRUE(WIFEXITED(end) && WEXITSTATUS(end) == 0) << end;
  ASSERT_EQ(counts.size(), static_cast<size_t>(kRounds));
  // In the first round the link is made. In others a receiver that got no processor time to spin
  // in, or none to receive in, may have cost calls; but not in most of them.
  std::sort(counts.begin(), counts.end());
  EXPECT_EQ(counts[kRounds / 2], 0u);
}

TEST(SystemCallsTest, WhatNobodyElseWantsIsLockedAndReleasedWithoutAny) {
  auto cluster = Cluster::Start({"alpha"});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const std::string socket = (*cluster)->Socket("alpha");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) LockRounds(socket);
  int end = 0;
  const std::vector<uint64_t> counts = CountBetweenMarkers(child, &end);
  ASSERT_TRUE(WIFEXITED(end) && WEXITSTATUS(end) == 0) << end;
  EXPECT_EQ(counts, std::vector<uint64_t>(kRounds, 0));
}

}  // namespace
}  // namespace mailrail
