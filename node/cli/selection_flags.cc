#include "node/cli/selection_flags.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

absl::StatusOr<MailboxOrder> ReadOrder(absl::string_view text) {
  if (text == "queue") return MailboxOrder::kQueue;
  if (text == "per-sender") return MailboxOrder::kPerSender;
  if (text == "log") return MailboxOrder::kLog;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is neither queue nor per-sender nor log"));
}

absl::StatusOr<Distribution> ReadDistribution(absl::string_view text) {
  if (text == "least-busy") return Distribution::kLeastBusy;
  if (text == "round-robin") return Distribution::kRoundRobin;
  if (text == "sticky-by-key") return Distribution::kStickyByKey;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is neither least-busy nor round-robin nor sticky-by-key"));
}

}  // namespace

void AddSelectionFlags(CLI::App& command, MailboxOptions* options) {
  AddParsedFlag(command, "--order", &options->order, ReadOrder,
                "it is one queue for the senders of its node, or keeps each sender's order alone, "
                "which is quicker where there are several; log, with --policy broadcast: all "
                "receivers get the messages in one order (default: queue)")
      ->type_name("queue|per-sender|log");
  AddParsedFlag(command, "--distribution", &options->distribution, ReadDistribution,
                "which of the competing receivers gets a message: whoever is free, each in turn, "
                "or for each key of send --key always the same (default: least-busy)")
      ->type_name("least-busy|round-robin|sticky-by-key");
  AddParsedFlag(command, "--cutoff", &options->cutoff, ReadDuration,
                "how long receivers of a node that is not reached keep what they hold, and their "
                "place (default: 30s)")
      ->type_name("DURATION");
  command.add_flag("--hold-order", options->hold_order,
                   "nothing of a sender is handed out while an earlier message of it at that "
                   "priority is leased, or has come back");
}

}  // namespace mailrail::cli
