// Counts the words of text files, with workers on any node, and compares the result with coreutils.
//
//   coordinator [--workers=N] [FOLDER...]
//
// Begins when N workers (default: 1) have joined; start them on any node, before or after. Exits
// with 1 when coreutils count something else. Without a FOLDER it takes text that Debian has.
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "examples/word_count/coordinator.h"
#include "examples/word_count/count.h"
#include "mailrail/mailrail.h"

namespace mailrail::examples {
namespace {

constexpr uint64_t kMinBytes = 10'000'000;

void PrintWorkers(const Coordinator& coordinator) {
  const double seconds = absl::ToDoubleSeconds(coordinator.elapsed());
  const auto megabytes_per_second = [seconds](uint64_t bytes) {
    return static_cast<double>(bytes) / 1e6 / seconds;
  };
  uint64_t chunks = 0;
  absl::PrintF("\n%-10s %-20s %8s %8s\n", "node", "worker", "chunks", "MB/s");
  for (const auto& [key, worker] : coordinator.workers()) {
    absl::PrintF("%-10s %-20s %8d %8.1f\n", worker.id.node(), worker.id.ToString(), worker.chunks,
                 megabytes_per_second(worker.bytes));
    chunks += worker.chunks;
  }
  absl::PrintF("%-10s %-20s %8d %8.1f\n", "all",
               absl::StrFormat("%d workers", coordinator.workers().size()), chunks,
               megabytes_per_second(coordinator.total().bytes()));
}

// Whether coreutils count the same.
absl::StatusOr<bool> Check(const Input& input, const Counts& total) {
  absl::StatusOr<WcCounts> wc = RunWc(input.files);
  if (!wc.ok()) return wc.status();
  const uint64_t words = total.words() + (wc->counts_unprintable ? total.unprintable_words() : 0);
  const bool equal = wc->lines == total.lines() && wc->words == words && wc->bytes == total.bytes();
  absl::PrintF("\n%-12s %12s %12s %12s\n", "", "lines", "words", "bytes");
  absl::PrintF("%-12s %12d %12d %12d\n", "Mailrail", total.lines(), words, total.bytes());
  absl::PrintF("%-12s %12d %12d %12d\n", "cat | wc", wc->lines, wc->words, wc->bytes);
  absl::PrintF("check: %s\n", equal ? "equal" : "DIFFERENT");
  return equal;
}

absl::StatusOr<bool> Run(size_t workers, const std::vector<std::string>& folders) {
  absl::StatusOr<Input> input = FindText(folders, kMinBytes);
  if (!input.ok()) return input.status();
  absl::PrintF("%.1f MB of text under %s", static_cast<double>(input->bytes) / 1e6,
               absl::StrJoin(input->folders, ", "));
  if (input->repetitions > 1) absl::PrintF(", taken %d times to have 10 MB", input->repetitions);
  absl::PrintF("\n");

  absl::StatusOr<Process> process = Process::Attach();
  if (!process.ok()) return process.status();
  absl::PrintF("coordinator %s waits for %d workers\n", process->id().ToString(), workers);
  Coordinator coordinator(&*process);
  if (absl::Status status = coordinator.Count(*input, workers); !status.ok()) return status;
  PrintWorkers(coordinator);
  return Check(*input, coordinator.total());
}

}  // namespace
}  // namespace mailrail::examples

int main(int argc, char** argv) {
  size_t workers = 1;
  std::vector<std::string> folders;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (!absl::ConsumePrefix(&argument, "--")) {
      folders.emplace_back(argument);
    } else if (!absl::ConsumePrefix(&argument, "workers=") ||
               !absl::SimpleAtoi(argument, &workers)) {
      std::cerr << "usage: coordinator [--workers=N] [FOLDER...]" << std::endl;
      return 2;
    }
  }
  const absl::StatusOr<bool> equal = mailrail::examples::Run(workers, folders);
  if (!equal.ok()) std::cerr << "coordinator: " << equal.status() << std::endl;
  return equal.ok() ? !*equal : mailrail::ExitCode(equal.status());
}
