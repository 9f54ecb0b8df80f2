// Readers and writers: any number of writers count the visits to pages in one table of shared
// memory, and readers, on whichever node, get the whole table as it was between two visits.
//
//   region visit PAGE TIMES    a writer: one visit after the other
//   region read TOTAL          waits until there are so many, and prints the table
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include "mailrail/mailrail.h"

namespace {

// Fixed-width fields, no pointers: it means the same to all.
struct Table {
  uint64_t total = 0;
  std::array<uint64_t, 16> visits = {};
};

constexpr char kName[] = "visits";

absl::Status Visit(mailrail::Process& process, uint64_t page, int times) {
  auto region = mailrail::SharedRegion::Create(process, kName, sizeof(Table));
  if (!region.ok()) return region.status();
  auto mutex = mailrail::Mutex::Open(process, kName);
  if (!mutex.ok()) return mutex.status();
  auto* const table = reinterpret_cast<Table*>(region->mutable_data());
  for (int i = 0; i < times; ++i) {
    auto lock = mailrail::MutexLock::Acquire(*mutex);
    if (!lock.ok()) return lock.status();
    if (lock->grant().owner_died) {
      // The one before may have changed only half of it.
      table->total = 0;
      for (const uint64_t visits : table->visits) table->total += visits;
    }
    ++table->visits[page % table->visits.size()];
    ++table->total;
    // Under the lock: the version is of one moment.
    if (auto version = region->Publish(); !version.ok()) return version.status();
  }
  return absl::OkStatus();
}

absl::Status Read(mailrail::Process& process, uint64_t total) {
  const auto region =
      mailrail::SharedRegion::Open(process, kName, mailrail::RegionAccess::kReadOnly);
  if (!region.ok()) return region.status();
  Table table;
  uint64_t seen = 0, sum = 0;
  while (table.total < total) {
    const auto version = region->WaitNewer(seen);
    if (!version.ok()) return version.status();
    seen = version->version;
    std::memcpy(&table, version->bytes.data(), sizeof(table));
    sum = 0;
    for (const uint64_t visits : table.visits) sum += visits;
    if (sum != table.total) return absl::DataLossError("a table that never was");
  }
  for (size_t page = 0; page < table.visits.size(); ++page) {
    if (table.visits[page] != 0) std::cout << "page " << page << ": " << table.visits[page] << "\n";
  }
  std::cout << "total: " << table.total << (region->replica() ? ", by a replica" : "") << std::endl;
  return absl::OkStatus();
}

absl::Status Run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  auto process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  if (what == "visit" && argc == 4) {
    return Visit(*process, std::strtoull(argv[2], nullptr, 10), std::atoi(argv[3]));
  }
  if (what == "read" && argc == 3) return Read(*process, std::strtoull(argv[2], nullptr, 10));
  return absl::InvalidArgumentError("usage: region visit PAGE TIMES | region read TOTAL");
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = Run(argc, argv);
  if (!status.ok()) std::cerr << "region: " << status << std::endl;
  return mailrail::ExitCode(status);
}
