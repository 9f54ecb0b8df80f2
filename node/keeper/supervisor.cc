#include "node/keeper/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/base/seqpacket.h"
#include "node/keeper/spawn.h"

namespace mailrail {
namespace {

// How many packets are served before signals and the agent's death are looked at again, and how
// many of a dead agent's at most: more than a socket's queue holds.
constexpr int kPacketsPerStep = 64;
constexpr int kQueuedPackets = 16 * 1024;

// When a reply could not be sent, it is tried again after this time.
constexpr int kRetryMs = 10;

constexpr int kMaxWaitMs = 60 * 60 * 1000;

// Exit codes of a keeper whose agent was killed, less the signal's number.
constexpr int kKilledBase = 128;

void Log(absl::string_view text) {
  const std::string line = absl::StrCat("mailrail keeper: ", text, "\n");
  // Nothing is left to do when standard error cannot be written.
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

bool HasHungUp(int fd) {
  pollfd poll_fd = {.fd = fd, .events = 0, .revents = 0};
  return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP) != 0;
}

int ExitCodeOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? kKilledBase + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

std::string Describe(std::optional<int> wait_status) {
  if (!wait_status.has_value()) return "died";
  if (WIFSIGNALED(*wait_status)) {
    return absl::StrCat("was killed by signal ", WTERMSIG(*wait_status));
  }
  return absl::StrCat("exited with code ", WEXITSTATUS(*wait_status));
}

}  // namespace

int Supervisor::Run(std::optional<RunningAgent> adopted) {
  absl::Status status = PrepareProcess();
  if (status.ok() && !adopted.has_value()) status = StartAgent();
  if (!status.ok()) {
    Log(status.message());
    return static_cast<int>(status.code());
  }
  if (adopted.has_value()) {
    agent_ = std::move(adopted);
    first_agent_ = false;
    started_at_ = Clock::now();
  }
  while (!exit_code_.has_value()) Step();
  return *exit_code_;
}

absl::Status Supervisor::PrepareProcess() {
  sigset_t handled;
  sigemptyset(&handled);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&handled, signal);
  sigset_t blocked = handled;
  sigaddset(&blocked, SIGPIPE);  // of a standard error that nobody reads any more
  if (signal(SIGCHLD, SIG_DFL) == SIG_ERR || sigprocmask(SIG_SETMASK, &blocked, nullptr) != 0) {
    return absl::ErrnoToStatus(errno, "sigprocmask");
  }
  signals_.Reset(signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return absl::ErrnoToStatus(errno, "signalfd");

  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);  // what is allowed may do without it
  }
  return absl::OkStatus();
}

absl::Status Supervisor::StartAgent() {
  absl::StatusOr<std::pair<Fd, Fd>> sockets = SeqpacketPair();
  if (!sockets.ok()) return sockets.status();
  std::vector<std::string> command = options_.agent_command;
  command.push_back(absl::StrCat("--keeper-fd=", sockets->second.get()));
  absl::StatusOr<pid_t> pid = SpawnSelf(command, {sockets->second.get()});
  if (!pid.ok()) return pid.status();
  absl::StatusOr<Fd> pid_fd = OpenPidFd(*pid);
  if (!pid_fd.ok()) {
    kill(*pid, SIGKILL);  // nobody would see its death
    return pid_fd.status();
  }
  agent_ = RunningAgent{std::move(*pid_fd), std::move(sockets->first), *pid};
  started_at_ = Clock::now();
  wait_status_.reset();
  return absl::OkStatus();
}

void Supervisor::Step() {
  const bool reads_store = agent_.has_value() && !unsent_.has_value();
  pollfd fds[] = {
      {.fd = signals_.get(), .events = POLLIN, .revents = 0},
      {.fd = agent_.has_value() ? agent_->pid_fd.get() : -1, .events = POLLIN, .revents = 0},
      {.fd = reads_store ? agent_->store.get() : -1, .events = POLLIN, .revents = 0},
  };
  poll(fds, std::size(fds), TimeoutMs());  // after an error all `revents` are 0
  if (unsent_.has_value()) Answer(*std::exchange(unsent_, std::nullopt));
  if (fds[2].revents != 0) ServeStore(kPacketsPerStep, /*answer=*/true);
  if (fds[0].revents != 0) HandleSignals();
  if (fds[1].revents != 0) HandleEndOfAgent();
  if (agent_.has_value() || exit_code_.has_value()) return;
  if (stopping_) {
    exit_code_ = 0;
  } else if (Clock::now() >= restart_at_) {
    absl::Status status = StartAgent();
    if (!status.ok()) {
      RestartAfter(absl::ZeroDuration(), absl::StrCat("was not started: ", status.message()));
    }
  }
}

int Supervisor::TimeoutMs() const {
  if (unsent_.has_value()) return kRetryMs;
  if (agent_.has_value()) return -1;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(restart_at_ - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(wait.count(), 0, kMaxWaitMs));
}

void Supervisor::ServeStore(int limit, bool answer) {
  const int socket = agent_->store.get();
  bool may_have_ended = false;
  for (int i = 0; i < limit && !unsent_.has_value(); ++i) {
    absl::StatusOr<Packet> packet = ReceivePacket(socket, /*wait=*/false);
    if (absl::IsResourceExhausted(packet.status())) return;
    StoreServer::Reply reply;
    if (packet.ok()) {
      reply = store_.Handle(std::move(*packet));
    } else if (absl::IsInvalidArgument(packet.status())) {
      reply = StoreServer::Refuse(absl::ResourceExhaustedError(
          "the keeper has no descriptors left, or the packet is too large"));
    } else if (!HasHungUp(socket)) {
      reply = StoreServer::Refuse(absl::InvalidArgumentError("empty packet to the keeper"));
    } else {
      // The first error may be a reset, with packets still waiting behind it.
      if (std::exchange(may_have_ended, true)) return agent_->store.Reset();
      continue;
    }
    may_have_ended = false;
    if (answer) Answer(std::move(reply));
  }
}

void Supervisor::Answer(StoreServer::Reply reply) {
  absl::Status status = SendPacket(agent_->store.get(), reply.bytes, reply.fds);
  if (absl::IsResourceExhausted(status)) {
    unsent_ = std::move(reply);
  } else if (!status.ok() && !absl::IsUnavailable(status)) {
    SendPacket(agent_->store.get(), StoreServer::Refuse(status).bytes).IgnoreError();
  }
}

void Supervisor::HandleSignals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) {
      WaitForChildren();
      continue;
    }
    if (signal != SIGHUP) stopping_ = true;
    PassOn(signal, /*from_terminal=*/info.ssi_code == SI_KERNEL);
  }
}

void Supervisor::PassOn(int signal, bool from_terminal) {
  if (!agent_.has_value()) return;
  // Control-C reaches all processes of the keeper's group, and must not count twice.
  const bool has_it =
      from_terminal && signal == SIGINT && agent_->pid > 0 && getpgid(agent_->pid) == getpgrp();
  if (!has_it) SignalPidFd(agent_->pid_fd, signal);
}

void Supervisor::WaitForChildren() {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (agent_.has_value() && pid == agent_->pid && !wait_status_.has_value()) {
      wait_status_ = status;
    }
  }
}

void Supervisor::HandleEndOfAgent() {
  WaitForChildren();
  unsent_.reset();
  if (agent_->store.valid()) ServeStore(kQueuedPackets, /*answer=*/false);
  agent_.reset();

  const std::optional<int> announced = store_.TakeLeave();
  const bool first_agent = std::exchange(first_agent_, false);
  const bool is_final = wait_status_.has_value() && WIFEXITED(*wait_status_) &&
                        IsFinalExitCode(WEXITSTATUS(*wait_status_), first_agent);
  if (stopping_ || announced.has_value() || is_final) {
    exit_code_ = wait_status_.has_value() ? ExitCodeOf(*wait_status_) : announced.value_or(0);
  } else {
    RestartAfter(absl::FromChrono(Clock::now() - started_at_), Describe(wait_status_));
  }
}

void Supervisor::RestartAfter(absl::Duration lived, const std::string& what) {
  const absl::Duration delay = policy_.DelayAfterDeath(lived);
  restart_at_ = Clock::now() + absl::ToChronoNanoseconds(delay);
  Log(absl::StrCat(
      "the agent ", what, "; it is started again ",
      delay > absl::ZeroDuration() ? absl::StrCat("in ", absl::FormatDuration(delay)) : "at once",
      ", with ", store_.size(), " records"));
}

}  // namespace mailrail
