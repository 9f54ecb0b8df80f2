// What many links or mailboxes of one agent cost, through the public interface.
//
//   scale links N SOCKET       processes of which each pair has a link, N or a few more links in
//   all scale mailboxes N SOCKET   N mailboxes, each with a sender and a receiver in two processes
//
// Prints a line of JSON when all is set up, and waits for the end of standard input; so who started
// it can count what the agent holds, and what all of them use of the processors meanwhile.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "mailrail/mailrail.h"

namespace mailrail::bench {
namespace {

constexpr size_t kMaxMembers = 512;
constexpr size_t kIdBytes = 128;
// To each mailbox, when the time of a message is measured.
constexpr int kMessagesEach = 50;

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

template <typename T>
T OrExit(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  fprintf(stderr, "scale: %s\n", value.status().ToString().c_str());
  exit(1);
}

void OrExit(const absl::Status& status) {
  if (status.ok()) return;
  fprintf(stderr, "scale: %s\n", status.ToString().c_str());
  exit(1);
}

Process Attach(const std::string& socket) {
  AttachOptions options;
  options.socket = socket;
  options.autostart = false;
  return OrExit(Process::Attach(options));
}

// What all members see.
struct Shared {
  char ids[kMaxMembers][kIdBytes];
  std::atomic<size_t> samples{0};      // of first messages
  std::atomic<int64_t> created_ns{0};  // how long it took to make all mailboxes
};

template <typename T>
T* MapShared(size_t count) {
  void* const memory = mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) abort();
  return static_cast<T*>(memory);
}

// A forked process that does one thing after another, when it is told to.
class Member {
 public:
  template <typename Work>
  explicit Member(Work work) {
    int down[2], up[2];
    if (pipe(down) != 0 || pipe(up) != 0) abort();
    fflush(stdout);
    if ((pid_ = fork()) == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(down[1]);
      close(up[0]);
      work(
          [&] {
            char byte;
            if (read(down[0], &byte, 1) != 1) _exit(0);
          },
          [&] {
            if (write(up[1], "x", 1) != 1) _exit(1);
          });
      _exit(0);
    }
    close(down[0]);
    close(up[1]);
    down_ = down[1];
    up_ = up[0];
  }
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  void Start() {
    if (write(down_, "x", 1) != 1) exit(1);
  }
  void Await() {
    char byte;
    if (read(up_, &byte, 1) != 1) exit(1);  // it has said why
  }
  void Do() {
    Start();
    Await();
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int down_ = -1, up_ = -1;
};

using Members = std::vector<std::unique_ptr<Member>>;

int64_t Percentile(std::vector<int64_t> samples, double part) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const auto last = static_cast<double>(samples.size() - 1);
  return samples[static_cast<size_t>(part * last)];
}

std::string Pids(const Members& members) {
  std::string pids;
  for (const auto& member : members) {
    pids += (pids.empty() ? "" : ",") + std::to_string(member->pid());
  }
  return pids;
}

// Until who started this has seen enough.
void AwaitEndOfInput() {
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
}

int Links(size_t wanted, const std::string& socket) {
  const auto count =
      static_cast<size_t>(std::ceil((1 + std::sqrt(1 + 8 * static_cast<double>(wanted))) / 2));
  if (count > kMaxMembers) {
    fprintf(stderr, "scale: at most %zu processes\n", kMaxMembers);
    return 2;
  }
  const size_t links = count * (count - 1) / 2;
  auto* const shared = new (MapShared<Shared>(1)) Shared;
  auto* const first_ns = MapShared<int64_t>(links);
  Members members;
  for (size_t self = 0; self < count; ++self) {
    members.push_back(std::make_unique<Member>([=](auto await, auto done) {
      await();
      Process process = Attach(socket);
      snprintf(shared->ids[self], kIdBytes, "%s", process.id().ToString().c_str());
      std::thread receiver([&] {
        while (true) {
          const absl::StatusOr<Message> message = process.inbox().Receive();
          if (!message.ok() || message->body().size() != sizeof(int64_t)) continue;
          int64_t sent_ns;
          memcpy(&sent_ns, message->body().data(), sizeof(sent_ns));
          first_ns[shared->samples] = NowNs() - sent_ns;
          ++shared->samples;
        }
      });
      done();
      await();
      // One after another: each is on its own when it is timed.
      std::vector<Sender> senders;
      for (size_t other = 0; other < self; ++other) {
        const size_t before = shared->samples;
        const int64_t begin = NowNs();
        senders.push_back(OrExit(process.Connect(OrExit(ProcessId::Parse(shared->ids[other])))));
        OrExit(senders.back().Send(
            absl::string_view(reinterpret_cast<const char*>(&begin), sizeof(begin))));
        while (shared->samples == before) usleep(50);
      }
      done();
      await();
    }));
  }
  for (const auto& member : members) member->Do();
  const int64_t begin = NowNs();
  for (const auto& member : members) member->Do();
  const std::vector<int64_t> samples(first_ns, first_ns + links);
  printf(
      "{\"links\": %zu, \"processes\": %zu, \"set_up_s\": %.3f, \"first_message_p50_ns\": %ld, "
      "\"first_message_p99_ns\": %ld, \"pids\": [%s]}\n",
      links, count, static_cast<double>(NowNs() - begin) / 1e9, Percentile(samples, 0.5),
      Percentile(samples, 0.99), Pids(members).c_str());
  AwaitEndOfInput();
  return 0;
}

std::string MailboxName(size_t index) {
  return "scale-" + std::to_string(getppid()) + "-" + std::to_string(index);
}

int Mailboxes(size_t count, const std::string& socket) {
  auto* const shared = new (MapShared<Shared>(1)) Shared;
  Members members;
  members.push_back(std::make_unique<Member>([=](auto await, auto done) {
    await();
    Process process = Attach(socket);
    const int64_t begin = NowNs();
    std::vector<Sender> senders;
    for (size_t i = 0; i < count; ++i) {
      MailboxOptions options;
      OrExit(process.CreateMailbox(MailboxName(i), options));
      senders.push_back(OrExit(process.ConnectMailbox(MailboxName(i))));
    }
    shared->created_ns = NowNs() - begin;
    done();
    await();
    for (int round = 0; round < kMessagesEach; ++round) {
      for (Sender& sender : senders) OrExit(sender.Send("sixteen bytes  ."));
    }
    done();
    await();
  }));
  members.push_back(std::make_unique<Member>([=](auto await, auto done) {
    await();
    Process process = Attach(socket);
    std::vector<Receiver> receivers;
    for (size_t i = 0; i < count; ++i) {
      receivers.push_back(OrExit(process.OpenMailbox(MailboxName(i))));
    }
    done();
    await();
    for (int round = 0; round < kMessagesEach; ++round) {
      for (Receiver& receiver : receivers) OrExit(receiver.Receive().status());
    }
    done();
    await();
  }));
  members[0]->Do();
  members[1]->Do();
  const int64_t begin = NowNs();
  for (const auto& member : members) member->Start();
  for (const auto& member : members) member->Await();
  const double message_ns =
      static_cast<double>(NowNs() - begin) / (kMessagesEach * static_cast<double>(count));
  printf("{\"mailboxes\": %zu, \"set_up_ns\": %.0f, \"message_ns\": %.0f, \"pids\": [%s]}\n", count,
         static_cast<double>(shared->created_ns) / static_cast<double>(count), message_ns,
         Pids(members).c_str());
  AwaitEndOfInput();
  for (const auto& member : members) {
    kill(member->pid(), SIGKILL);
    waitpid(member->pid(), nullptr, 0);
  }
  return 0;
}

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  const std::string_view what = argc == 4 ? argv[1] : "";
  const long count = argc == 4 ? atol(argv[2]) : 0;
  if (count >= 1 && what == "links") {
    return mailrail::bench::Links(static_cast<size_t>(count), argv[3]);
  }
  if (count >= 1 && what == "mailboxes") {
    return mailrail::bench::Mailboxes(static_cast<size_t>(count), argv[3]);
  }
  fprintf(stderr, "usage: %s links|mailboxes N SOCKET\n", argv[0]);
  return 2;
}
