// A configuration that one node keeps and programs on all nodes follow: each has the last one,
// whole, in memory of its own node, also while the first node is cut off.
//
//   configuration set LINE...    on the node that keeps it
//   configuration follow COUNT   on any node: prints the configuration, and each newer one
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include "mailrail/mailrail.h"

namespace {

constexpr char kName[] = "configuration";
constexpr size_t kBytes = 16384;

absl::Status Set(mailrail::Process& process, const std::string& text) {
  auto region = mailrail::SharedRegion::Create(process, kName, kBytes);
  if (!region.ok()) return region.status();
  if (text.size() > region->size()) return absl::ResourceExhaustedError("it is too long");
  auto mutex = mailrail::Mutex::Open(process, kName);
  if (!mutex.ok()) return mutex.status();
  const auto lock = mailrail::MutexLock::Acquire(*mutex);
  if (!lock.ok()) return lock.status();
  std::memset(region->mutable_data(), 0, region->size());
  std::copy(text.begin(), text.end(), region->mutable_data());
  const auto version = region->Publish();
  if (!version.ok()) return version.status();
  std::cout << "published version " << *version << std::endl;
  return absl::OkStatus();
}

absl::Status Follow(mailrail::Process& process, int count) {
  const auto region =
      mailrail::SharedRegion::Open(process, kName, mailrail::RegionAccess::kReadOnly);
  if (!region.ok()) return region.status();
  uint64_t seen = 0;
  for (int i = 0; i < count; ++i) {
    const auto version = region->WaitNewer(seen);
    if (!version.ok()) return version.status();  // destroyed, say
    seen = version->version;
    // All behind the text is zeros.
    std::cout << "version " << seen << (region->replica() ? " (replica)" : "") << ": "
              << version->bytes.c_str() << std::endl;
  }
  return absl::OkStatus();
}

absl::Status Run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  auto process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  if (what == "set" && argc > 2) {
    std::string text;
    for (int i = 2; i < argc; ++i) text += std::string(i > 2 ? "; " : "") + argv[i];
    return Set(*process, text);
  }
  if (what == "follow" && argc == 3) return Follow(*process, std::atoi(argv[2]));
  return absl::InvalidArgumentError(
      "usage: configuration set LINE... | configuration follow COUNT");
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = Run(argc, argv);
  if (!status.ok()) std::cerr << "configuration: " << status << std::endl;
  return mailrail::ExitCode(status);
}
