#include "node/agent/end_reason.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "core/base/fd.h"
#include "gtest/gtest.h"

namespace mailrail {
namespace {

struct Child {
  pid_t pid;
  Fd pidfd;

  ~Child() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  void AwaitEnd() const {
    pollfd ended = {pidfd.get(), POLLIN, 0};
    poll(&ended, 1, -1);
  }
};

// A child that exits with `code`, or runs until it is killed if that is negative.
Child Start(int code) {
  const pid_t pid = fork();
  if (pid == 0) {
    while (code < 0) pause();
    _exit(code);
  }
  return {pid, Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)))};
}

TEST(EndReason, OfARunningProcessIsThatItDetached) {
  const Child child = Start(-1);
  EXPECT_EQ(HowItEnded(child.pidfd.get(), child.pid), EndReason::kDetached);
}

TEST(EndReason, OfAnExit) {
  const Child child = Start(3);
  child.AwaitEnd();
  EXPECT_EQ(HowItEnded(child.pidfd.get(), child.pid), EndReason::kExited);
}

TEST(EndReason, OfASignal) {
  const Child child = Start(-1);
  kill(child.pid, SIGKILL);
  child.AwaitEnd();
  EXPECT_EQ(HowItEnded(child.pidfd.get(), child.pid), EndReason::kKilled);
}

TEST(EndReason, IsKnownOrSaidNotToBeAfterTheParentHasWaited) {
  const Child child = Start(-1);
  kill(child.pid, SIGKILL);
  waitpid(child.pid, nullptr, 0);
  const EndReason reason = HowItEnded(child.pidfd.get(), child.pid);
  EXPECT_TRUE(reason == EndReason::kKilled || reason == EndReason::kEnded);
}

TEST(IsDying, NotWhileItRunsOrWhenItIsNotThere) {
  const Child child = Start(-1);
  EXPECT_FALSE(IsDying(child.pid));
  EXPECT_FALSE(IsDying(0x7fffffff));
}

TEST(IsDying, BetweenItsLastInstructionAndItsEnd) {
  const Child child = Start(-1);
  kill(child.pid, SIGKILL);
  child.AwaitEnd();  // not waited for, it is as it was before
  EXPECT_TRUE(IsDying(child.pid));
}

TEST(IsDying, NotWhenOnlyItsFirstThreadHasEnded) {
  const pid_t pid = fork();
  if (pid == 0) {
    std::thread([] { pause(); }).detach();
    syscall(SYS_exit, 0);  // of this thread alone
  }
  const Child child{pid, Fd()};
  const auto first_has_ended = [&] {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string number, name, state;
    return (file >> number >> name >> state) && state == "Z";
  };
  while (!first_has_ended()) usleep(1000);
  EXPECT_FALSE(IsDying(pid));
}

}  // namespace
}  // namespace mailrail
