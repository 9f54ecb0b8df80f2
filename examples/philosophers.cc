// Dining philosophers: five processes, a fork between each two. With a mutex for each fork all wait
// for each other once everybody has taken his left one: the last is told so, with the whole cycle,
// and puts his fork down. With a monitor they take both forks at once or none.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "mailrail/mailrail.h"

namespace {

constexpr int kPhilosophers = 5, kMeals = 100;
constexpr mailrail::OpenOptions kTransient = {.create = true, .transient = true};

// Memory that the forked processes share. Fork i is to the left of philosopher i.
struct Table {
  bool taken[kPhilosophers];
  int meals[kPhilosophers];
};

absl::Status UseMutexes(mailrail::Process& process, std::string name, int self, Table* table) {
  const int left = self, right = (self + 1) % kPhilosophers;
  auto left_fork = mailrail::Mutex::Open(process, name + std::to_string(left), kTransient);
  auto right_fork = mailrail::Mutex::Open(process, name + std::to_string(right), kTransient);
  auto all = mailrail::Barrier::Open(process, name, kPhilosophers, kTransient);
  if (!left_fork.ok() || !right_fork.ok() || !all.ok()) return absl::UnavailableError("no forks");
  for (bool first_try = true; table->meals[self] < kMeals; first_try = false) {
    auto left_held = mailrail::MutexLock::Acquire(*left_fork);
    if (!left_held.ok()) return left_held.status();
    // The first time nobody goes on before all have their left forks, so that it does happen.
    if (first_try && !all->Wait().ok()) return absl::InternalError("barrier");
    auto right_held = mailrail::MutexLock::Acquire(*right_fork);
    if (absl::IsFailedPrecondition(right_held.status())) {
      const absl::string_view why = right_held.status().message();
      std::cout << "philosopher " << self << " puts his fork down: " << why << std::endl;
      continue;
    }
    if (!right_held.ok()) return right_held.status();
    if (table->taken[left] || table->taken[right]) return absl::InternalError("a fork for two");
    table->taken[left] = table->taken[right] = true;
    ++table->meals[self];
    table->taken[left] = table->taken[right] = false;
  }
  return absl::OkStatus();
}

absl::Status UseMonitor(mailrail::Process& process, std::string name, int self, Table* table) {
  const int left = self, right = (self + 1) % kPhilosophers;
  auto monitor = mailrail::Monitor::Open(process, name, {"put-down"}, kTransient);
  if (!monitor.ok()) return monitor.status();
  while (table->meals[self] < kMeals) {
    {
      auto entry = monitor->Enter();
      if (!entry.ok()) return entry.status();
      const absl::Status both_free =
          entry->WaitUntil(0, [&] { return !table->taken[left] && !table->taken[right]; });
      if (!both_free.ok()) return both_free;
      table->taken[left] = table->taken[right] = true;
    }
    ++table->meals[self];  // and the others come and go
    auto entry = monitor->Enter();
    if (!entry.ok()) return entry.status();
    table->taken[left] = table->taken[right] = false;
    if (absl::Status status = entry->NotifyAll(0); !status.ok()) return status;
  }
  return absl::OkStatus();
}

template <typename Use>
absl::Status Dine(const char* how, const std::string& name, Table* table, Use use) {
  *table = {};
  for (int i = 0; i < kPhilosophers; ++i) {
    if (fork() != 0) continue;
    absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
    const absl::Status status = process.ok() ? use(*process, name, i, table) : process.status();
    if (!status.ok()) std::cerr << "philosopher " << i << ": " << status << std::endl;
    _exit(mailrail::ExitCode(status));
  }
  int meals = 0, failed = 0, result = 0;
  while (wait(&result) > 0) failed += result != 0;
  for (const int eaten : table->meals) meals += eaten;
  std::cout << "with " << how << ": " << meals << " meals" << std::endl;
  return failed == 0 ? absl::OkStatus() : absl::UnknownError("a philosopher has failed");
}

}  // namespace

int main() {
  constexpr int kFlags = MAP_SHARED | MAP_ANONYMOUS;
  void* const memory = mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, kFlags, -1, 0);
  auto* const table = new (memory) Table;
  const std::string name = "philosophers-" + std::to_string(getpid()) + "-";
  absl::Status status = Dine("mutexes", name, table, UseMutexes);
  status.Update(Dine("a monitor", name, table, UseMonitor));
  return mailrail::ExitCode(status);
}
