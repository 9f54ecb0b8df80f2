// Configuration that all programs of a cluster follow. `broadcast keep` has it, `broadcast follow`
// prints it, and `mailrail send settings-keeper color=red` changes it for all at once; `stop` ends
// the keeper, and with it its mailbox, which those who follow are told of.
#include <iostream>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "mailrail/mailrail.h"

namespace {

constexpr char kVersion[] = "version";

uint64_t VersionOf(const mailrail::Message& message) {
  uint64_t version = 0;
  if (!absl::SimpleAtoi(message.header(kVersion).value_or("0"), &version)) return 0;
  return version;
}

// A change is sent to all that follow; who asks gets everything, and which change was the last.
absl::Status Keep(mailrail::Process& process) {
  // A follower that is slow holds nobody up: of what it has missed it gets the latest.
  const mailrail::MailboxOptions options = {.when_full = mailrail::FullPolicy::kDropOldest,
                                            .policy = mailrail::ReceivePolicy::kBroadcast,
                                            .owned = true};
  if (absl::Status status = process.CreateMailbox("settings", options); !status.ok()) return status;
  absl::StatusOr<mailrail::Sender> followers = process.ConnectMailbox("settings");
  if (!followers.ok()) return followers.status();
  if (absl::Status status = process.RegisterName("settings-keeper"); !status.ok()) return status;
  std::cout << "keeps the settings" << std::endl;
  std::map<std::string, std::string> settings = {{"color", "white"}};
  uint64_t version = 1;
  while (true) {
    absl::StatusOr<mailrail::Message> message = process.inbox().Receive();
    if (!message.ok()) return message.status();
    const std::string body(message->body());
    if (!message->reply_to().empty()) {
      const std::string all = absl::StrJoin(settings, " ", absl::PairFormatter("="));
      // It may have gone meanwhile.
      process.Reply(*message, all, {.headers = {{kVersion, absl::StrCat(version)}}}).IgnoreError();
      continue;
    }
    if (body == "stop") return absl::OkStatus();
    const size_t equals = body.find('=');
    if (equals == std::string::npos) continue;
    settings[body.substr(0, equals)] = body.substr(equals + 1);
    absl::Status status = followers->Send(body, {.headers = {{kVersion, absl::StrCat(++version)}}});
    if (!status.ok()) return status;
  }
}

absl::Status Follow(mailrail::Process& process) {
  // First this: no change is missed that comes after what is asked for next.
  absl::StatusOr<mailrail::Receiver> changes = process.OpenMailbox("settings");
  if (!changes.ok()) return changes.status();
  absl::StatusOr<mailrail::Sender> keeper = process.Connect("settings-keeper");
  if (!keeper.ok()) return keeper.status();
  absl::StatusOr<mailrail::Message> all = keeper->Call("");
  if (!all.ok()) return all.status();
  std::cout << "begins with " << all->body() << std::endl;
  uint64_t version = VersionOf(*all);
  while (true) {
    absl::StatusOr<mailrail::Message> change = changes->Receive();
    if (absl::IsUnavailable(change.status())) {
      std::cout << "the keeper has ended" << std::endl;
      return absl::OkStatus();
    }
    if (!change.ok()) return change.status();
    if (VersionOf(*change) <= version) continue;  // it was in what we began with
    version = VersionOf(*change);
    std::cout << "change " << version << ": " << change->body() << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool keeps = argc > 1 && absl::string_view(argv[1]) == "keep";
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  const absl::Status status = !process.ok() ? process.status()
                              : keeps       ? Keep(*process)
                                            : Follow(*process);
  if (!status.ok()) std::cerr << "broadcast: " << status << std::endl;
  return mailrail::ExitCode(status);
}
