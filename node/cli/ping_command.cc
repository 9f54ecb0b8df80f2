#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "node/cli/agent_client.h"
#include "node/cli/commands.h"
#include "node/cli/rows.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct PingArguments {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
  std::string target;
  uint64_t count = 4;
  absl::Duration interval = absl::ZeroDuration();
  absl::Duration timeout = absl::Seconds(5);
};

absl::StatusOr<PingAnswer> PingOnce(AgentClient& client, const PingArguments& arguments) {
  control::Request request;
  request.set_ping(arguments.target);
  const Clock::time_point begin = Clock::now();
  absl::StatusOr<internal::AgentReply> reply =
      client.Call(request, AgentClient::Repeat::kMay, absl::Now() + arguments.timeout);
  if (!reply.ok()) return reply.status();
  PingAnswer answer;
  answer.answered_by = reply->response.pong().answered_by();
  answer.beyond_the_agent_ns = reply->response.pong().round_trip_ns();
  answer.round_trip_ns =
      static_cast<uint64_t>(std::chrono::nanoseconds(Clock::now() - begin).count());
  return answer;
}

absl::Status RunPing(const PingArguments& arguments) {
  absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(arguments.socket));
  if (!client.ok()) return client.status();
  std::vector<PingAnswer> answers;
  for (uint64_t i = 0; i < arguments.count; ++i) {
    if (i > 0) absl::SleepFor(arguments.interval);
    const absl::StatusOr<PingAnswer> answer = PingOnce(**client, arguments);
    if (!answer.ok()) return answer.status();
    answers.push_back(*answer);
    const absl::Status status = Print(FormatPing(*answer, arguments.format));
    if (!status.ok()) return status;
  }
  return Print(FormatPingSummary(answers, arguments.format));
}

}  // namespace

void AddPingCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<PingArguments>();
  CLI::App* command = AddCommand(app, "ping", "Ask a node's agent, or for a process, and time it",
                                 "mailrail ping beta --count 10\n  mailrail ping 4711.3@alpha");
  command->add_option("target", arguments->target, "a node's name, or a process: id, pid or name")
      ->type_name("TARGET")
      ->required();
  AddParsedFlag(*command, "--count", &arguments->count, ReadCount, "how often (default: 4)")
      ->type_name("N");
  AddParsedFlag(*command, "--interval", &arguments->interval, ReadDuration,
                "the pause between two (default: 0)")
      ->type_name("DURATION");
  AddParsedFlag(*command, "--timeout", &arguments->timeout, ReadDuration,
                "how long to wait for each answer (default: 5s)")
      ->type_name("DURATION");
  AddSocketFlag(*command, &arguments->socket);
  AddOutputFlag(*command, &arguments->format);
  command->callback(
      [arguments, action] { *action = [arguments] { return Report(RunPing(*arguments)); }; });
}

}  // namespace mailrail::cli
