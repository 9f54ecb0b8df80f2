#include <cmath>
#include <memory>
#include <string>

#include "mailrail/limits.h"
#include "node/cli/bench/benches.h"
#include "node/cli/bench/report.h"
#include "node/cli/commands.h"
#include "node/cli/selection_flags.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

using bench::BenchArguments;

struct Settings {
  BenchArguments bench;
  std::string socket;
  OutputFormat format = OutputFormat::kText;
};

constexpr uint64_t kMaxProcesses = 64;
constexpr uint64_t kMaxBatch = 4096;
constexpr uint64_t kMaxKeys = 100000;

absl::StatusOr<uint64_t> ReadBodySize(absl::string_view text) {
  const absl::StatusOr<uint64_t> size = ReadSize(text);
  if (!size.ok()) return size;
  if (*size > kDefaultMaxMessageBytes) {
    return absl::InvalidArgumentError("a size from 0 to 64M");
  }
  return size;
}

absl::StatusOr<uint64_t> ReadProcesses(absl::string_view text) {
  return ReadNumber(text, 1, kMaxProcesses);
}

absl::StatusOr<uint64_t> ReadKeys(absl::string_view text) { return ReadNumber(text, 0, kMaxKeys); }

absl::StatusOr<Acknowledgement> ReadAcknowledgement(absl::string_view text) {
  if (text == "auto") return Acknowledgement::kAutomatic;
  if (text == "lease") return Acknowledgement::kManual;
  return absl::InvalidArgumentError("auto or lease");
}

absl::StatusOr<uint64_t> ReadBatch(absl::string_view text) {
  return ReadNumber(text, 1, kMaxBatch);
}

absl::StatusOr<double> ReadSeconds(absl::string_view text) {
  const absl::StatusOr<absl::Duration> time = ReadDuration(text);
  if (!time.ok()) return time.status();
  if (*time < absl::Milliseconds(1) || *time > absl::Hours(1)) {
    return absl::InvalidArgumentError("a time from 1ms to 1h");
  }
  return absl::ToDoubleSeconds(*time);
}

absl::StatusOr<absl::optional<WaitMode>> ReadMode(absl::string_view text) {
  if (text == "spin") return WaitMode::kSpin;
  if (text == "adaptive") return WaitMode::kAdaptive;
  if (text == "block") return WaitMode::kBlock;
  return absl::InvalidArgumentError("spin, adaptive or block");
}

using Run = absl::StatusOr<bench::Report> (*)(const BenchArguments& arguments);

absl::Status RunBench(Run run, const Settings& settings) {
  BenchArguments arguments = settings.bench;
  arguments.attach = AttachOptionsFor(settings.socket);
  const absl::StatusOr<bench::Report> report = run(arguments);
  if (!report.ok()) return report.status();
  return Print(settings.format == OutputFormat::kJson ? FormatJson(*report) : FormatText(*report));
}

// One measurement, with the flags that all have.
class Bench {
 public:
  Bench(CLI::App& parent, const std::string& name, const std::string& help,
        const std::string& example, Run run, Action* action)
      : settings_(std::make_shared<Settings>()),
        command_(*AddCommand(parent, name, help, example)) {
    AddParsedFlag(command_, "--seconds", &settings_->bench.seconds, ReadSeconds,
                  "how long to measure (default: 3)")
        ->type_name("SECONDS");
    AddSocketFlag(command_, &settings_->socket);
    AddOutputFlag(command_, &settings_->format);
    command_.callback([settings = settings_, run, action] {
      *action = [settings, run] { return cli::Report(RunBench(run, *settings)); };
    });
  }

  Bench& Size() {
    return Flag("--size", &BenchArguments::size, ReadBodySize, "bytes in a message (default: 64)",
                "BYTES");
  }
  Bench& Mode(const std::string& otherwise) {
    AddParsedFlag(command_, "--mode", &settings_->bench.mode, ReadMode,
                  "how receivers wait (default: " + otherwise + ")")
        ->type_name("spin|adaptive|block");
    return *this;
  }
  Bench& Flag(const std::string& flag, uint64_t BenchArguments::*value,
              absl::StatusOr<uint64_t> (*read)(absl::string_view), const std::string& help,
              const std::string& type = "N") {
    AddParsedFlag(command_, flag, &(settings_->bench.*value), read, help)->type_name(type);
    return *this;
  }
  Bench& InPlace(const std::string& help) {
    command_.add_flag("--in-place", settings_->bench.in_place, help);
    return *this;
  }
  CLI::App& command() { return command_; }
  BenchArguments& arguments() { return settings_->bench; }

 private:
  const std::shared_ptr<Settings> settings_;
  CLI::App& command_;
};

constexpr char kSpinIfRoom[] = "spin where each process has a processor, else adaptive";

void AddRemote(CLI::App& app, Action* action) {
  Bench remote(app, "remote", "Round trip, flood, and urgent behind bulk, to another node",
               "mailrail bench serve                 # on beta\n"
               "  mailrail bench remote --to beta      # on alpha",
               bench::RunRemote, action);
  remote.Size()
      .Mode("adaptive")
      .Flag("--bulk-size", &BenchArguments::bulk_size, ReadBodySize,
            "bytes in a message of bulk (default: 1K)");
  remote.command()
      .add_option("--to", remote.arguments().node, "the node where mailrail bench serve runs")
      ->type_name("NODE")
      ->required();
  remote.command()
      .add_option("--name", remote.arguments().name, "its --name there (default: bench)")
      ->type_name("NAME");
}

void AddServe(CLI::App& app, Action* action) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* command = AddCommand(app, "serve", "Be the far side of bench remote, until SIGINT",
                                 "mailrail bench serve");
  command->add_option("--name", settings->bench.name, "what to be called (default: bench)")
      ->type_name("NAME");
  AddParsedFlag(*command, "--mode", &settings->bench.mode, ReadMode,
                "how to wait for messages (default: adaptive)")
      ->type_name("spin|adaptive|block");
  AddSocketFlag(*command, &settings->socket);
  command->callback([settings, action] {
    *action = [settings] {
      settings->bench.attach = AttachOptionsFor(settings->socket);
      return cli::Report(bench::RunServe(settings->bench));
    };
  });
}

}  // namespace

void AddBenchCommand(CLI::App& app, Action* action) {
  CLI::App* command = AddCommand(app, "bench", "Measure this host, or the way to another",
                                 "mailrail bench latency\n"
                                 "  mailrail bench throughput --size 1K --batch 32 -o json");
  command->require_subcommand(1);
  Bench(*command, "latency", "A direct message there and back",
        "mailrail bench latency --size 8K --in-place", bench::RunLatency, action)
      .Size()
      .Mode(kSpinIfRoom)
      .InPlace("hand over bodies prepared in place: the first and last line are touched");
  Bench(*command, "throughput", "One sender, one receiver, direct",
        "mailrail bench throughput --batch 32", bench::RunThroughput, action)
      .Size()
      .Mode(kSpinIfRoom)
      .Flag("--batch", &BenchArguments::batch, ReadBatch,
            "send and receive so many with one call (default: 1)")
      .InPlace("write bodies where they are sent from");
  Bench fanin(*command, "fanin", "Several senders to one inbox", "mailrail bench fanin --senders 4",
              bench::RunFanin, action);
  fanin.arguments().senders = 2;
  fanin.Size()
      .Mode(kSpinIfRoom)
      .Flag("--senders", &BenchArguments::senders, ReadProcesses, "how many (default: 2)");
  Bench mailbox(*command, "mailbox", "Senders and receivers of a mailbox",
                "mailrail bench mailbox --senders 2 --receivers 2", bench::RunMailbox, action);
  AddSelectionFlags(mailbox.command(), &mailbox.arguments().mailbox);
  AddParsedFlag(mailbox.command(), "--policy", &mailbox.arguments().mailbox.policy,
                ReadReceivePolicy, "who receives (default: competing)")
      ->type_name("competing|exclusive|link|broadcast");
  mailbox.command().add_flag("--receipts", mailbox.arguments().receipts,
                             "senders ask for a receipt of each message, and take it");
  AddParsedFlag(mailbox.command(), "--receive", &mailbox.arguments().acknowledgement,
                ReadAcknowledgement,
                "messages are received for good, or leased and acknowledged "
                "(default: auto)")
      ->type_name("auto|lease");
  mailbox.Size()
      .Mode(kSpinIfRoom)
      .Flag("--senders", &BenchArguments::senders, ReadProcesses, "how many (default: 1)")
      .Flag("--receivers", &BenchArguments::receivers, ReadProcesses, "how many (default: 1)")
      .Flag("--keys", &BenchArguments::keys, ReadKeys,
            "how many keys each sender's messages have, in turn (default: 0, none)")
      .Flag("--batch", &BenchArguments::batch, ReadBatch,
            "send and receive so many with one call (default: 1)");
  Bench(*command, "wakeup", "A direct message there and back, to receivers that sleep",
        "mailrail bench wakeup", bench::RunWakeup, action)
      .Size();
  Bench(*command, "priority", "An urgent message behind bulk that has used up its room",
        "mailrail bench priority --bulk-size 4K", bench::RunPriority, action)
      .Size()
      .Mode(kSpinIfRoom)
      .Flag("--bulk-size", &BenchArguments::bulk_size, ReadBodySize,
            "bytes in a message of bulk (default: 1K)");
  Bench(*command, "lock", "A mutex locked and unlocked: by one process, and by two at once",
        "mailrail bench lock", bench::RunLock, action);
  Bench(*command, "sem", "A semaphore's unit acquired and released, or used up and added",
        "mailrail bench sem -o json", bench::RunSemaphore, action);
  Bench(*command, "barrier", "Two processes that wait for each other", "mailrail bench barrier",
        bench::RunBarrier, action);
  Bench pipe(*command, "pipe", "Bytes through a pipe, from one process to another",
             "mailrail bench pipe --size 4K", bench::RunPipe, action);
  pipe.arguments().size = 64 << 10;
  pipe.Flag("--size", &BenchArguments::size, ReadBodySize, "bytes in a write (default: 64K)",
            "BYTES")
      .Mode(kSpinIfRoom)
      .InPlace("read what was written where it is");
  Bench(*command, "region", "A shared value read, while its writer publishes and while it does not",
        "mailrail bench region", bench::RunRegion, action);
  AddRemote(*command, action);
  AddServe(*command, action);
}

}  // namespace mailrail::cli
