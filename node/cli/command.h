// What the subcommands share.
#ifndef MAILRAIL_NODE_CLI_COMMAND_H_
#define MAILRAIL_NODE_CLI_COMMAND_H_

#include <CLI/App.hpp>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "mailrail/process.h"

namespace mailrail::cli {

// What the command line asks for; returns the program's exit code.
using Action = std::function<int()>;

enum class OutputFormat { kText, kJson };

// Adds a subcommand whose help ends with `example`, a command line.
CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& help,
                     const std::string& example);

// Adds --socket.
void AddSocketFlag(CLI::App& command, std::string* socket);

// Adds -o, --output.
void AddOutputFlag(CLI::App& command, OutputFormat* format);

// Adds a flag whose text `parse` reads; its error becomes the usage error. `value` keeps what it
// has when the flag is not given.
template <typename T>
CLI::Option* AddParsedFlag(CLI::App& command, const std::string& flag, T* value,
                           absl::StatusOr<T> (*parse)(absl::string_view text),
                           const std::string& help) {
  CLI::Option* option = command.add_option(
      flag,
      [value, parse](const CLI::results_t& texts) {
        absl::StatusOr<T> parsed = parse(texts.back());
        if (parsed.ok()) *value = *std::move(parsed);
        return parsed.ok();
      },
      help);
  option->check([parse](const std::string& text) {
    const absl::Status status = parse(text).status();
    return status.ok() ? std::string() : std::string(status.message());
  });
  return option;
}

// Adds --priority.
void AddPriorityFlag(CLI::App& command, uint64_t* priority);

// Adds --header, which may be given again.
void AddHeaderFlag(CLI::App& command, std::vector<Header>* headers);

// How this program attaches: an agent is started from this very program.
AttachOptions AttachOptionsFor(const std::string& socket);

// Writes "mailrail: MESSAGE" and a newline to standard error unless `status` is OK, and returns the
// exit code for it.
int Report(const absl::Status& status);

// `status` with `context` and ": " before its message; OK stays OK.
absl::Status Annotate(absl::string_view context, const absl::Status& status);

// Writes to standard output, at once. kUnavailable when that cannot be done.
absl::Status Print(absl::string_view text);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_COMMAND_H_
