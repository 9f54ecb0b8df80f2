#include "node/keeper/test_agent.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/fd.h"
#include "core/base/seqpacket.h"
#include "node/keeper/keeper.h"

namespace mailrail {
namespace {

int Number(absl::string_view text) {
  int number = 0;
  return absl::SimpleAtoi(text, &number) ? number : -1;
}

std::string Content(const Fd& fd) {
  char buffer[100];
  const ssize_t size = pread(fd.get(), buffer, sizeof(buffer), 0);
  return size < 0 ? "unreadable" : std::string(buffer, static_cast<size_t>(size));
}

Fd FileWith(const std::string& content) {
  Fd fd(memfd_create("keeper_test", MFD_CLOEXEC));
  if (pwrite(fd.get(), content.data(), content.size(), 0) < 0) fd.Reset();
  return fd;
}

std::string ManyKey(int i) { return absl::StrFormat("many/%06d", i); }
std::string ManyValue(int i) { return absl::StrCat("value ", i); }
std::string ManyContent(int i, int j) { return absl::StrCat("file ", i, "/", j); }

class TestAgent {
 public:
  TestAgent(KeeperOptions options, Fd control, std::unique_ptr<KeeperClient> client)
      : options_(std::move(options)), control_(std::move(control)), client_(std::move(client)) {}

  int Run();

 private:
  void Say(absl::string_view text) { SendPacket(control_.get(), text).IgnoreError(); }
  void Obey(Packet packet);
  std::string Answer(const std::vector<std::string>& words, std::vector<Fd> fds);
  absl::Status Put(const std::string& key, const std::string& value, std::vector<Fd> fds);
  void TakeSignal();
  void AdoptKeeper();

  std::string List();
  std::string AskWithoutReading();
  absl::Status PutMany(int records, int fds);
  std::string CheckMany(int records, int fds);
  std::string SendBadPackets();
  std::string LeaveOrphan();

  const KeeperOptions options_;
  const Fd control_;
  std::unique_ptr<KeeperClient> client_;
  Fd signals_;
  std::map<std::string, KeptRecord> records_;
  std::optional<int> exit_code_;
};

int TestAgent::Run() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  sigprocmask(SIG_SETMASK, &signals, nullptr);
  signals_.Reset(signalfd(-1, &signals, SFD_CLOEXEC));
  absl::StatusOr<std::vector<KeptRecord>> records = client_->List();
  if (!records.ok()) Say(records.status().ToString());
  for (KeptRecord& record : *records) records_[record.key] = std::move(record);
  Say(absl::StrCat("started ", getpid(), " ", records_.size()));

  while (!exit_code_.has_value()) {
    pollfd fds[] = {{.fd = control_.get(), .events = POLLIN, .revents = 0},
                    {.fd = signals_.get(), .events = POLLIN, .revents = 0},
                    {.fd = client_->fd(), .events = 0, .revents = 0}};
    poll(fds, std::size(fds), -1);
    if (fds[2].revents != 0) {
      AdoptKeeper();
    } else if (fds[1].revents != 0) {
      TakeSignal();
    } else if (fds[0].revents != 0) {
      absl::StatusOr<Packet> packet = ReceivePacket(control_.get(), /*wait=*/true);
      if (packet.ok()) {
        Obey(*std::move(packet));
      } else {  // the test has ended
        client_->Leave(0).IgnoreError();
        exit_code_ = 0;
      }
    }
  }
  return *exit_code_;
}

void TestAgent::TakeSignal() {
  signalfd_siginfo info;
  if (read(signals_.get(), &info, sizeof(info)) != sizeof(info)) return;
  Say(absl::StrCat("signal ", info.ssi_signo));
  if (info.ssi_signo != SIGHUP) exit_code_ = kTestAgentTerminated;
}

void TestAgent::AdoptKeeper() {
  absl::StatusOr<std::unique_ptr<KeeperClient>> client = StartKeeper(options_);
  if (!client.ok()) {
    Say(client.status().ToString());
    exit_code_ = 1;
    return;
  }
  client_ = *std::move(client);
  for (const auto& [key, record] : records_) {
    std::vector<int> fds;
    for (const Fd& fd : record.fds) fds.push_back(fd.get());
    absl::Status put = client_->Put(key, record.value, fds);
    if (!put.ok()) Say(put.ToString());
  }
  Say("adopted");
}

void TestAgent::Obey(Packet packet) {
  const std::vector<std::string> words = absl::StrSplit(packet.bytes, ' ');
  if (words[0] == "put-and-die") {
    Put(words[1], words[2], std::move(packet.fds)).IgnoreError();
    raise(SIGKILL);
  } else if (words[0] == "send-and-die") {
    for (int i = 0; i < Number(words[1]); ++i) {
      const std::string key = ManyKey(i);
      const std::string value = ManyValue(i);
      SendPacket(client_->fd(),
                 EncodeKeeperPacket({.kind = KeeperPacketKind::kPut, .key = key, .value = value}))
          .IgnoreError();
    }
    raise(SIGKILL);
  } else if (words[0] == "leave") {
    client_->Leave(Number(words[1])).IgnoreError();
    exit_code_ = Number(words[1]);
  } else if (words[0] == "exit") {
    exit_code_ = Number(words[1]);
  } else {
    Say(Answer(words, std::move(packet.fds)));
  }
}

std::string TestAgent::Answer(const std::vector<std::string>& words, std::vector<Fd> fds) {
  const std::string& command = words[0];
  if (command == "put") return Put(words[1], words[2], std::move(fds)).ToString();
  if (command == "put-value") return client_->PutValue(words[1], words[2]).ToString();
  if (command == "drop") return client_->Drop(words[1]).ToString();
  if (command == "list") return List();
  if (command == "ask-without-reading") return AskWithoutReading();
  if (command == "put-many") return PutMany(Number(words[1]), Number(words[2])).ToString();
  if (command == "check-many") return CheckMany(Number(words[1]), Number(words[2]));
  if (command == "bad-packets") return SendBadPackets();
  if (command == "orphan") return LeaveOrphan();
  return "unknown command";
}

absl::Status TestAgent::Put(const std::string& key, const std::string& value, std::vector<Fd> fds) {
  std::vector<int> numbers;
  for (const Fd& fd : fds) numbers.push_back(fd.get());
  absl::Status status = client_->Put(key, value, numbers);
  if (status.ok()) records_[key] = KeptRecord{key, value, std::move(fds)};
  return status;
}

std::string TestAgent::List() {
  absl::StatusOr<std::vector<KeptRecord>> records = client_->List();
  if (!records.ok()) return records.status().ToString();
  std::string text;
  for (const KeptRecord& record : *records) {
    absl::StrAppend(&text, record.key, "=", record.value, "[");
    for (const Fd& fd : record.fds) absl::StrAppend(&text, Content(fd));
    absl::StrAppend(&text, "] ");
  }
  return text.empty() ? "nothing" : text;
}

std::string TestAgent::AskWithoutReading() {
  const std::string next = EncodeKeeperPacket({.kind = KeeperPacketKind::kNext});
  if (!SendPacket(client_->fd(), next).ok()) return "cannot send";
  pollfd reply = {.fd = client_->fd(), .events = POLLIN, .revents = 0};
  return poll(&reply, 1, -1) == 1 ? "OK" : "poll failed";
}

absl::Status TestAgent::PutMany(int records, int fds) {
  for (int i = 0; i < records; ++i) {
    std::vector<Fd> files;
    std::vector<int> numbers;
    for (int j = 0; j < fds; ++j) {
      files.push_back(FileWith(ManyContent(i, j)));
      numbers.push_back(files.back().get());
    }
    absl::Status status = client_->Put(ManyKey(i), ManyValue(i), numbers);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string TestAgent::CheckMany(int records, int fds) {
  absl::StatusOr<std::vector<KeptRecord>> listed = client_->List();
  if (!listed.ok()) return listed.status().ToString();
  if (listed->size() != static_cast<size_t>(records)) {
    return absl::StrCat(listed->size(), " records");
  }
  for (int i = 0; i < records; ++i) {
    const KeptRecord& record = (*listed)[static_cast<size_t>(i)];
    bool right = record.key == ManyKey(i) && record.value == ManyValue(i) &&
                 record.fds.size() == static_cast<size_t>(fds);
    for (int j = 0; right && j < fds; ++j) {
      right = Content(record.fds[static_cast<size_t>(j)]) == ManyContent(i, j);
    }
    if (!right) return absl::StrCat("record ", i, " is wrong: ", record.key, "=", record.value);
  }
  return "OK";
}

std::string TestAgent::SendBadPackets() {
  const int keeper = client_->fd();
  const std::string oversized(kMaxPacketBytes + 1, 'x');
  const std::vector<int> many(kMaxPacketFds, control_.get());
  int replies = 2;
  if (send(keeper, "", 0, 0) != 0) return "cannot send nothing";
  if (send(keeper, oversized.data(), oversized.size(), 0) < 0) return "cannot send too much";
  const std::string put = EncodeKeeperPacket({.kind = KeeperPacketKind::kPut, .key = "bad"});
  for (const std::string& bytes : {std::string("nonsense"), std::string(kMaxPacketBytes, '\1'),
                                   put.substr(0, put.size() - 1), put}) {
    if (!SendPacket(keeper, bytes, many).ok()) return "cannot send";
    ++replies;
  }
  for (; replies > 0; --replies) {
    absl::StatusOr<Packet> reply = ReceivePacket(keeper, /*wait=*/true);
    if (!reply.ok()) return reply.status().ToString();
    absl::StatusOr<KeeperPacket> packet = DecodeKeeperPacket(reply->bytes);
    if (!packet.ok() || packet->kind != KeeperPacketKind::kDone || packet->number == 0) {
      return "a bad packet was not refused";
    }
  }
  // Requests whose replies nobody reads, until both directions are full.
  const std::string next = EncodeKeeperPacket({.kind = KeeperPacketKind::kNext});
  while (SendPacket(keeper, next).ok()) ++replies;
  for (; replies > 0; --replies) {
    absl::StatusOr<Packet> reply = ReceivePacket(keeper, /*wait=*/true);
    if (!reply.ok()) return reply.status().ToString();
  }
  return "OK";
}

std::string TestAgent::LeaveOrphan() {
  int fds[2];
  if (pipe(fds) != 0) return "no pipe";
  const pid_t parent = fork();
  if (parent == 0) {
    const pid_t orphan = fork();
    if (orphan == 0) {
      for (;;) pause();
    }
    _exit(write(fds[1], &orphan, sizeof(orphan)) == sizeof(orphan) ? 0 : 1);
  }
  Fd reader(fds[0]);
  Fd writer(fds[1]);
  pid_t orphan = -1;
  if (read(reader.get(), &orphan, sizeof(orphan)) != sizeof(orphan)) return "no orphan";
  waitpid(parent, nullptr, 0);
  kill(orphan, SIGKILL);
  while (kill(orphan, 0) == 0) sched_yield();
  return "OK";
}

}  // namespace

int TestAgentMain(int argc, char** argv) {
  KeeperOptions options;
  int keeper_fd = -1;
  int control_fd = -1;
  for (int i = 0; i < argc; ++i) {
    absl::string_view arg = argv[i];
    if (arg == "--crash") raise(SIGKILL);
    if (absl::ConsumePrefix(&arg, "--keeper-fd=")) {
      keeper_fd = Number(arg);
      continue;
    }
    if (absl::ConsumePrefix(&arg, "--control-fd=")) control_fd = Number(arg);
    options.agent_command.push_back(argv[i]);
  }
  absl::StatusOr<std::unique_ptr<KeeperClient>> client = KeeperClient::FromFd(Fd(keeper_fd));
  if (!client.ok()) return static_cast<int>(client.status().code());
  return TestAgent(std::move(options), Fd(control_fd), *std::move(client)).Run();
}

}  // namespace mailrail
