// What one would use on one host in the place of Mailrail's mutexes, semaphores, barriers and
// shared values: process-shared pthread mutexes, barriers and read-write locks, POSIX semaphores,
// flock(2).
//
//   sync NAME [--seconds S] [--cores A,B]
//   sync list                        prints the names that it knows
//
// A mutex or semaphore: lock and unlock alone, then in two processes, pinned to a processor each,
// which count under it. A barrier: rounds of the two. A read-write lock: a value of 1 KiB under it
// is read by one, first alone and then while the other writes it. Prints one line of JSON.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "node/cli/bench/body.h"
#include "node/cli/bench/exchange.h"
#include "node/cli/bench/pairs.h"
#include "node/cli/bench/samples.h"
#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

struct Shared {
  pthread_mutex_t mutex;
  sem_t semaphore;
  pthread_barrier_t barrier;
  pthread_rwlock_t value_lock;
  char value[1024] = {};
  std::atomic<bool> all_read{false};
  Samples alone;
  Samples written;  // the same beside a writer
  SliceMeter meters[2];
  ExchangeWords words;
  std::atomic<int> met{0};
  std::atomic<int64_t> begin_ns{0};
  std::atomic<uint64_t> last_round{0};
  uint64_t counts[2] = {};
  alignas(128) uint64_t guarded = 0;
};

constexpr int64_t kLineNs = 10'000'000;

void MakeMutex(Shared* shared, bool robust) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  if (robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  Require(pthread_mutex_init(&shared->mutex, &attributes) == 0, "pthread_mutex_init");
}

void MakeBarrier(Shared* shared) {
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  Require(pthread_barrier_init(&shared->barrier, &attributes, 2) == 0, "pthread_barrier_init");
}

void MakeValueLock(Shared* shared) {
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
  pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  Require(pthread_rwlock_init(&shared->value_lock, &attributes) == 0, "pthread_rwlock_init");
}

void ReadAndWriteValue(Shared* shared, bool first, double seconds,
                       const std::function<void()>& meet) {
  uint64_t number = 0;
  if (!first) {
    meet();
    while (!shared->all_read) {
      Require(pthread_rwlock_wrlock(&shared->value_lock) == 0, "pthread_rwlock_wrlock");
      WriteBody(shared->value, sizeof(shared->value), ++number, BodyStyle::kWhole);
      pthread_rwlock_unlock(&shared->value_lock);
    }
    return;
  }
  const auto read = [shared, &number] {
    char copy[sizeof(shared->value)];
    if (pthread_rwlock_rdlock(&shared->value_lock) != 0) return false;
    memcpy(copy, shared->value, sizeof(copy));
    pthread_rwlock_unlock(&shared->value_lock);
    return ReadBody({copy, sizeof(copy)}, BodyStyle::kWhole, &number);
  };
  for (Samples* const samples : {&shared->alone, &shared->written}) {
    samples->Prepare();
    if (samples == &shared->written) meet();
    Require(TimePairs(seconds, read, samples), "pthread_rwlock_rdlock");
  }
  shared->all_read = true;
}

template <typename Lock, typename Unlock>
void Pairs(Shared* shared, bool first, double seconds, const std::function<void()>& meet, Lock lock,
           Unlock unlock) {
  const auto pair = [&](uint64_t* counted) {
    if (!lock()) return false;
    ++*counted;
    return unlock();
  };
  if (first) {
    uint64_t own = 0;
    shared->alone.Prepare();
    Require(TimePairs(
                0.1, [&] { return pair(&own); }, &shared->alone),
            "lock");
    shared->alone.Forget();
    Require(TimePairs(
                seconds, [&] { return pair(&own); }, &shared->alone),
            "lock");
    shared->begin_ns = NowNs();
  }
  meet();
  const SliceTimes times = SliceTimes::Of(seconds);
  const int self = first ? 0 : 1;
  shared->meters[self].Start(times, shared->begin_ns, 64);
  Require(CountPairs(
              shared->begin_ns + times.total_ns(), [&] { return pair(&shared->guarded); },
              &shared->meters[self], &shared->counts[self]),
          "lock");
}

void Flock(Shared* shared, bool first, double seconds, const std::function<void()>& meet,
           const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  Require(file >= 0, "open");
  Pairs(
      shared, first, seconds, meet, [file] { return flock(file, LOCK_EX) == 0; },
      [file] { return flock(file, LOCK_UN) == 0; });
}

void Measure(std::string_view name, Shared* shared, bool first, double seconds,
             const std::function<void()>& meet, const std::string& path) {
  if (name == "flock") return Flock(shared, first, seconds, meet, path);
  if (name == "pthread-rwlock") return ReadAndWriteValue(shared, first, seconds, meet);
  if (name == "posix-semaphore") {
    return Pairs(
        shared, first, seconds, meet, [shared] { return sem_wait(&shared->semaphore) == 0; },
        [shared] { return sem_post(&shared->semaphore) == 0; });
  }
  if (name == "pthread-barrier") {
    if (first) shared->alone.Prepare();
    meet();
    const auto round = [shared] {
      const int result = pthread_barrier_wait(&shared->barrier);
      return result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD;
    };
    return Require(
        TimeRounds(seconds, round, &shared->last_round, first ? &shared->alone : nullptr),
        "pthread_barrier_wait");
  }
  Pairs(
      shared, first, seconds, meet, [shared] { return pthread_mutex_lock(&shared->mutex) == 0; },
      [shared] { return pthread_mutex_unlock(&shared->mutex) == 0; });
}

void Pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  Require(sched_setaffinity(0, sizeof(set), &set) == 0, "this processor cannot be used");
}

void Print(std::string_view name, const Shared& shared, double seconds, const uint32_t lines[2]) {
  const bool rounds = name == "pthread-barrier", reads = name == "pthread-rwlock";
  const double per = rounds ? 1 : kPairsPerSample;
  const std::vector<uint32_t> sorted = shared.alone.Sorted();
  std::printf("{\"name\":\"%s\",\"p50_ns\":%.2f,\"p99_ns\":%.2f", std::string(name).c_str(),
              Percentile(sorted, 0.5) / per, Percentile(sorted, 0.99) / per);
  if (reads) {
    std::printf(",\"written_p50_ns\":%.2f", Percentile(shared.written.Sorted(), 0.5) / per);
  } else if (!rounds) {
    Require(shared.guarded == shared.counts[0] + shared.counts[1], "they were not alone");
    const SliceTimes times = SliceTimes::Of(seconds);
    std::vector<double> slices(times.slices);
    for (size_t i = 0; i < slices.size(); ++i) {
      slices[i] = shared.meters[0].Rate(i) + shared.meters[1].Rate(i);
    }
    std::printf(",\"per_s\":%.0f", Median(slices));
  }
  std::printf(",\"line_ns\":[%u,%u]}\n", lines[0], lines[1]);
}

int Run(std::string_view name, double seconds, const int cores[2]) {
  void* const memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Require(memory != MAP_FAILED, "no memory");
  auto* const shared = new (memory) Shared;
  MakeMutex(shared, name == "pthread-mutex-robust");
  Require(sem_init(&shared->semaphore, /*pshared=*/1, 1) == 0, "sem_init");
  MakeBarrier(shared);
  MakeValueLock(shared);
  char path[] = "/tmp/mailrail-bench-flock.XXXXXX";
  const int file = mkstemp(path);
  Require(file >= 0, "mkstemp");
  const pid_t child = fork();
  Require(child >= 0, "fork");
  const bool first = child != 0;
  Pin(cores[first ? 0 : 1]);
  int meetings = 0;
  const std::function<void()> meet = [&] {
    meetings += 2;
    ++shared->met;
    while (shared->met < meetings) usleep(50);
  };
  const ExchangeSide side = first ? ExchangeSide::kFirst : ExchangeSide::kSecond;
  uint32_t lines[2];
  meet();
  lines[0] = Exchange(shared->words, side, ExchangeWait::kSpin, kLineNs);
  Measure(name, shared, first, seconds, meet, path);
  meet();
  lines[1] = Exchange(shared->words, side, ExchangeWait::kSpin, kLineNs);
  if (!first) _exit(0);
  int status = 0;
  waitpid(child, &status, 0);
  unlink(path);
  Require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the second process has failed");
  Print(name, *shared, seconds, lines);
  return 0;
}

constexpr const char* kNames[] = {"pthread-mutex", "pthread-mutex-robust", "posix-semaphore",
                                  "flock",         "pthread-barrier",      "pthread-rwlock"};

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  double seconds = 0.3;
  int cores[2] = {0, 1};
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--seconds") seconds = std::strtod(argv[i + 1], nullptr);
    if (flag == "--cores") std::sscanf(argv[i + 1], "%d,%d", &cores[0], &cores[1]);
  }
  for (const char* const known : mailrail::bench::kNames) {
    if (name == "list") std::printf("%s\n", known);
    if (name == known) return mailrail::bench::Run(name, seconds, cores);
  }
  if (name == "list") return 0;
  std::fprintf(stderr, "usage: %s NAME|list [--seconds S] [--cores A,B]\n", argv[0]);
  return 2;
}
