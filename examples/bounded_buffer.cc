// Producers and consumers of a bounded buffer, each a process: one semaphore counts free places and
// one full ones, and a mutex guards the places. The buffer is plain memory that the processes share
// as they are forked from one. (For messages a mailbox is all of this.)
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "mailrail/mailrail.h"

namespace {

constexpr uint32_t kPlaces = 8;
constexpr int kProducers = 2, kConsumers = 2;  // as many of each
constexpr int kNumbers = 5000;  // 1 to 5000 of each producer, and so many for each consumer

struct Buffer {
  int places[kPlaces];
  uint32_t put = 0, taken = 0;  // so many, ever
  int64_t sum = 0;              // of what was taken
};

// What each process opens by the same names; it is gone when nobody has it open any more.
struct Shared {
  mailrail::Semaphore room, full;
  mailrail::Mutex mutex;

  static absl::StatusOr<Shared> Open(mailrail::Process& process, const std::string& name) {
    const mailrail::OpenOptions transient = {.create = true, .transient = true};
    auto room = mailrail::Semaphore::Open(process, name + "-room", {kPlaces, kPlaces, transient});
    auto full = mailrail::Semaphore::Open(process, name + "-full", {0, kPlaces, transient});
    auto mutex = mailrail::Mutex::Open(process, name, transient);
    if (!room.ok() || !full.ok() || !mutex.ok()) return absl::UnavailableError("no buffer");
    return Shared{*std::move(room), *std::move(full), *std::move(mutex)};
  }
};

absl::Status Put(Shared& shared, Buffer* buffer, int number) {
  if (absl::Status status = shared.room.Wait(); !status.ok()) return status;
  auto lock = mailrail::MutexLock::Acquire(shared.mutex);
  if (!lock.ok()) return lock.status();
  buffer->places[buffer->put++ % kPlaces] = number;
  return shared.full.Post();
}

absl::Status Take(Shared& shared, Buffer* buffer) {
  if (absl::Status status = shared.full.Wait(); !status.ok()) return status;
  auto lock = mailrail::MutexLock::Acquire(shared.mutex);
  if (!lock.ok()) return lock.status();
  buffer->sum += buffer->places[buffer->taken++ % kPlaces];
  return shared.room.Post();
}

absl::Status Work(bool produces, const std::string& name, Buffer* buffer) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  absl::StatusOr<Shared> shared = Shared::Open(*process, name);
  absl::Status status = shared.status();
  for (int number = 1; status.ok() && number <= kNumbers; ++number) {
    status = produces ? Put(*shared, buffer, number) : Take(*shared, buffer);
  }
  return status;
}

absl::Status Run(Buffer* buffer) {
  const std::string name = "buffer-" + std::to_string(getpid());
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  absl::StatusOr<Shared> shared = Shared::Open(*process, name);
  if (!shared.ok()) return shared.status();
  for (int i = 0; i < kProducers + kConsumers; ++i) {
    if (fork() != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // alone they would wait for ever
    _exit(mailrail::ExitCode(Work(i < kProducers, name, buffer)));
  }
  for (int result = 0; wait(&result) > 0;) {
    if (result != 0) return absl::UnknownError("a producer or a consumer has failed");
  }
  std::cout << buffer->taken << " numbers went through " << kPlaces << " places, their sum is "
            << buffer->sum << std::endl;
  return absl::OkStatus();
}

}  // namespace

int main() {
  const int flags = MAP_SHARED | MAP_ANONYMOUS;
  void* const memory = mmap(nullptr, sizeof(Buffer), PROT_READ | PROT_WRITE, flags, -1, 0);
  const absl::Status status = Run(new (memory) Buffer);
  if (!status.ok()) std::cerr << "bounded_buffer: " << status << std::endl;
  return mailrail::ExitCode(status);
}
