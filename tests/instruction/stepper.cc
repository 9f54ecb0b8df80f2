#include "tests/instruction/stepper.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "tests/support/require.h"

#if !defined(__x86_64__)
#error "the instructions and registers that are looked at are those of x86-64"
#endif

// A system call for whoever is stepped.
asm(R"(
.pushsection .text
.globl mailrail_system_call
.type mailrail_system_call, @function
mailrail_system_call:
  syscall
  ud2
.popsection
)");
extern "C" const char mailrail_system_call[];

namespace mailrail {
namespace {

constexpr int kRefused = 99;

// What the kernel adds to SIGTRAP at a system call.
constexpr int kSystemCallStop = 0x80;

// Set when the function has returned: memory that all have.
std::atomic<bool>& Returned() {
  static void* const memory =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *static_cast<std::atomic<bool>*>(memory);
}

user_regs_struct Registers(pid_t pid) {
  user_regs_struct registers{};
  Require(ptrace(PTRACE_GETREGS, pid, nullptr, &registers) == 0, "PTRACE_GETREGS");
  return registers;
}

void SetRegisters(pid_t pid, user_regs_struct registers) {
  Require(ptrace(PTRACE_SETREGS, pid, nullptr, &registers) == 0, "PTRACE_SETREGS");
}

bool IsWait(uint64_t operation) {
  const auto command = static_cast<int>(operation) & FUTEX_CMD_MASK;
  return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET;
}

bool StoppedBy(int status, int signal) { return WIFSTOPPED(status) && WSTOPSIG(status) == signal; }

}  // namespace

pid_t CopyProcess() {
  const pid_t parent = getpid();
  // Not fork(), which calls what is registered with pthread_atfork.
  const auto pid = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  Require(pid >= 0, "clone");
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  return 0;
}

SteppedProcess::SteppedProcess(absl::FunctionRef<void()> function,
                               absl::FunctionRef<void()> after) {
  std::atomic<bool>& returned = Returned();
  returned = false;
  pid_ = CopyProcess();
  if (pid_ == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(kRefused);
    // Here the steps begin.
    asm volatile("int3" ::: "memory");
    function();
    returned = true;
    after();
    _exit(0);
  }
  if (!StoppedBy(Wait(), SIGTRAP)) return;
  state_ = State::kInFunction;
  Require(ptrace(PTRACE_SETOPTIONS, pid_, nullptr,
                 PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACESYSGOOD) == 0,
          "PTRACE_SETOPTIONS");
}

bool SteppedProcess::Allowed() {
  return SteppedProcess([] {}, [] {}).state() == State::kInFunction;
}

int SteppedProcess::Wait() {
  int status = 0;
  while (waitpid(pid_, &status, __WALL) < 0) Require(errno == EINTR, "waitpid");
  if (!WIFSTOPPED(status)) pid_ = -1;
  return status;
}

void SteppedProcess::Step() {
  Require(ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0, "PTRACE_SINGLESTEP");
  if (!StoppedBy(Wait(), SIGTRAP)) {
    state_ = State::kFailed;
  } else if (Returned()) {
    state_ = State::kReturned;
  } else if (BeforeWait()) {
    state_ = State::kBeforeSleep;
  }
}

bool SteppedProcess::BeforeWait() const {
  constexpr uint64_t kSystemCall = 0x050f;
  const user_regs_struct registers = Registers(pid_);
  if (registers.rax != SYS_futex || !IsWait(registers.rsi)) return false;
  errno = 0;
  const long code = ptrace(PTRACE_PEEKTEXT, pid_, reinterpret_cast<void*>(registers.rip), nullptr);
  return errno == 0 && (static_cast<uint64_t>(code) & 0xffff) == kSystemCall;
}

std::unique_ptr<SteppedProcess> SteppedProcess::Copy() {
  // It calls clone() where it stands, as this process's child, and both go back.
  const user_regs_struct here = Registers(pid_);
  user_regs_struct call = here;
  call.rip = reinterpret_cast<uint64_t>(mailrail_system_call);
  call.rax = SYS_clone;
  call.rdi = CLONE_PARENT | SIGCHLD;
  call.rsi = call.rdx = call.r10 = call.r8 = 0;
  SetRegisters(pid_, call);
  Require(ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0, "PTRACE_SINGLESTEP");
  Require(Wait() >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8), "clone in the stepped process");
  unsigned long pid = 0;
  Require(ptrace(PTRACE_GETEVENTMSG, pid_, nullptr, &pid) == 0, "PTRACE_GETEVENTMSG");
  std::unique_ptr<SteppedProcess> copy(new SteppedProcess);
  copy->pid_ = static_cast<pid_t>(pid);
  Require(StoppedBy(copy->Wait(), SIGSTOP), "the copy stops");
  SetRegisters(copy->pid_, here);
  copy->state_ = State::kInFunction;
  Require(ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0, "PTRACE_SINGLESTEP");
  Require(StoppedBy(Wait(), SIGTRAP), "the end of clone");
  SetRegisters(pid_, here);
  return copy;
}

int SteppedProcess::GoOn() {
  for (;;) {
    // Stops before and after each system call.
    Require(ptrace(PTRACE_SYSCALL, pid_, nullptr, nullptr) == 0, "PTRACE_SYSCALL");
    const int status = Wait();
    if (!StoppedBy(status, SIGTRAP | kSystemCallStop)) return status;
    const user_regs_struct registers = Registers(pid_);
    const bool before = static_cast<int64_t>(registers.rax) == -ENOSYS;
    if (!before || registers.orig_rax != SYS_futex || !IsWait(registers.rsi)) continue;
    // This process has the same memory at the same address.
    const auto* const word = reinterpret_cast<const std::atomic<uint32_t>*>(registers.rdi);
    if (word->load() != static_cast<uint32_t>(registers.rdx)) continue;
    state_ = State::kBeforeSleep;
    return status;
  }
}

void SteppedProcess::StepOut() {
  constexpr long kBreakpoint = 0xcc;
  void* const back =
      reinterpret_cast<void*>(ptrace(PTRACE_PEEKDATA, pid_, Registers(pid_).rsp, nullptr));
  const long code = ptrace(PTRACE_PEEKTEXT, pid_, back, nullptr);
  ptrace(PTRACE_POKETEXT, pid_, back, (code & ~0xffL) | kBreakpoint);
  const int status = GoOn();
  if (state_ == State::kBeforeSleep) return;
  Require(StoppedBy(status, SIGTRAP), "the function returns");
  ptrace(PTRACE_POKETEXT, pid_, back, code);
  user_regs_struct registers = Registers(pid_);
  registers.rip = reinterpret_cast<uint64_t>(back);
  SetRegisters(pid_, registers);
}

void SteppedProcess::Finish() {
  state_ = State::kFailed;
  const int status = GoOn();
  if (state_ == State::kBeforeSleep) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && Returned()) state_ = State::kReturned;
  // There may be another that has not returned.
  Returned() = false;
}

void SteppedProcess::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (pid_ >= 0) Wait();
}

const void* SteppedProcess::at() const {
  return reinterpret_cast<const void*>(Registers(pid_).rip);
}

}  // namespace mailrail
