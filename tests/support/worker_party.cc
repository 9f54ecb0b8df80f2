#include "tests/support/worker_party.h"

#include <sys/socket.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/framing.h"
#include "tests/support/require.h"

namespace mailrail {

absl::StatusOr<std::unique_ptr<WorkerParty>> WorkerParty::Start(const std::string& socket,
                                                                const Ledger* ledger) {
  int ends[2];
  Require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  const int ledger_fd = ledger == nullptr ? -1 : ledger->fd();
  std::vector<int> inherited = {theirs.get()};
  if (ledger_fd >= 0) inherited.push_back(ledger_fd);
  Child child({BuiltProgram("tests/support/worker"), socket, absl::StrCat(theirs.get()),
               absl::StrCat(ledger_fd)},
              inherited);
  // Closed here, so that its death is seen.
  theirs.Reset();

  party::Result attached;
  if (!ReadFrame(ours.get(), attached)) return absl::CancelledError("the worker did not start");
  if (attached.status().code() != 0) return FromProto(attached.status());
  std::unique_ptr<WorkerParty> party(new WorkerParty(std::move(child), std::move(ours)));
  party->set_id(FromProto(attached.process()));
  return party;
}

WorkerParty::WorkerParty(Child child, Fd channel)
    : child_(std::move(child)), channel_(std::move(channel)), reader_([this] { ReadResults(); }) {}

WorkerParty::~WorkerParty() {
  End();
  reader_.join();
}

void WorkerParty::End() { child_.Kill(); }

void WorkerParty::Exit() {
  shutdown(channel_.get(), SHUT_WR);
  child_.Wait();
}

party::Result WorkerParty::Do(party::Command command) {
  {
    absl::MutexLock lock(&mutex_);
    command.set_id(++last_id_);
  }
  {
    absl::MutexLock lock(&write_mutex_);
    WriteFrame(channel_.get(), command);
  }
  absl::MutexLock lock(&mutex_);
  const auto answered = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return gone_ || results_.count(command.id()) > 0;
  };
  mutex_.Await(absl::Condition(&answered));
  const auto result = results_.extract(command.id());
  if (!result.empty()) return std::move(result.mapped());
  party::Result none;
  *none.mutable_status() = ToProto(absl::CancelledError("the worker has ended"));
  return none;
}

void WorkerParty::ReadResults() {
  party::Result result;
  while (ReadFrame(channel_.get(), result)) {
    absl::MutexLock lock(&mutex_);
    results_[result.id()] = std::move(result);
  }
  absl::MutexLock lock(&mutex_);
  gone_ = true;
}

}  // namespace mailrail
