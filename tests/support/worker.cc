// A party in a process of its own (party.h):
//
//   worker SOCKET CHANNEL_FD LEDGER_FD
//
// attaches to the agent at SOCKET, says over the channel what came of it, and carries out commands
// from there, each in a thread of its own, until the channel closes. LEDGER_FD may be -1.
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "tests/support/framing.h"
#include "tests/support/ledger.h"
#include "tests/support/local_party.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string socket = argv[1];
  const int channel = std::atoi(argv[2]);
  mailrail::Ledger ledger(std::atoi(argv[3]));

  auto party = mailrail::LocalParty::Attach(socket, &ledger);
  mailrail::party::Result attached;
  *attached.mutable_status() = mailrail::ToProto(party.status());
  if (party.ok()) *attached.mutable_process() = mailrail::ToProto((*party)->id());
  mailrail::WriteFrame(channel, attached);
  if (!party.ok()) return 1;

  absl::Mutex write_mutex;
  mailrail::party::Command command;
  while (mailrail::ReadFrame(channel, command)) {
    std::thread([&, command = std::move(command)] {
      mailrail::party::Result result = (*party)->Do(command);
      result.set_id(command.id());
      absl::MutexLock lock(&write_mutex);
      mailrail::WriteFrame(channel, result);
    }).detach();
    command = {};
  }
  // Without detaching, whatever its threads do: a party ends as most programs do.
  _exit(0);
}
