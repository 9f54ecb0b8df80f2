#include "node/cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "mailrail/limits.h"
#include "mailrail/status.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

std::string ThisProgram() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : "mailrail";
}

absl::StatusOr<OutputFormat> ReadFormat(absl::string_view text) {
  if (text == "text") return OutputFormat::kText;
  if (text == "json") return OutputFormat::kJson;
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' is neither text nor json"));
}

absl::StatusOr<uint64_t> ReadPriority(absl::string_view text) {
  return ReadNumber(text, 0, kMaxPriority);
}

absl::StatusOr<Header> ReadHeader(absl::string_view text) {
  const size_t at = text.find('=');
  if (at == absl::string_view::npos || at == 0) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not NAME=VALUE"));
  }
  return Header{std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

}  // namespace

CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& help,
                     const std::string& example) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->footer(absl::StrCat("Example:\n  ", example));
  return command;
}

void AddSocketFlag(CLI::App& command, std::string* socket) {
  command
      .add_option("--socket", *socket,
                  "the agent's socket (default: $MAILRAIL_SOCKET, "
                  "$XDG_RUNTIME_DIR/mailrail/agent.sock, /run/mailrail/agent.sock)")
      ->type_name("PATH");
}

void AddOutputFlag(CLI::App& command, OutputFormat* format) {
  AddParsedFlag(command, "-o,--output", format, ReadFormat, "how to print (default: text)")
      ->type_name("text|json");
}

void AddPriorityFlag(CLI::App& command, uint64_t* priority) {
  AddParsedFlag(command, "--priority", priority, ReadPriority,
                "0 to 31, higher goes first (default: 0)")
      ->type_name("N");
}

void AddHeaderFlag(CLI::App& command, std::vector<Header>* headers) {
  command
      .add_option_function<std::vector<std::string>>(
          "--header",
          [headers](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) headers->push_back(ReadHeader(text).value());
          },
          "what the receiver is told beside the message; may be given again")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false)
      ->check(
          [](const std::string& text) { return std::string(ReadHeader(text).status().message()); });
}

AttachOptions AttachOptionsFor(const std::string& socket) {
  AttachOptions options;
  options.socket = socket;
  options.program = ThisProgram();
  return options;
}

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  std::string message = absl::StrReplaceAll(status.message(), {{"\n", " "}});
  if (message.empty()) message = absl::StatusCodeToString(status.code());
  fprintf(stderr, "mailrail: %s\n", message.c_str());
  return ExitCode(status);
}

absl::Status Annotate(absl::string_view context, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

absl::Status Print(absl::string_view text) {
  if (fwrite(text.data(), 1, text.size(), stdout) == text.size() && fflush(stdout) == 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("cannot write to standard output: ", strerror(errno)));
}

}  // namespace mailrail::cli
