#include "tests/bench/harness.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "node/cli/bench/exchange.h"

namespace mailrail::bench {
namespace {

struct Settings {
  std::string mode, name;
  size_t size = 64;
  double seconds = 0.3;
  int cores[2] = {0, 1};
};

// What the two processes tell each other beside the channel.
struct Shared {
  std::atomic<int> ready{0};
  alignas(128) std::atomic<uint64_t> received{0};
  alignas(128) std::atomic<uint64_t> last{
      0};  // the number of messages that come; 0 until it is known
  std::atomic<int> met{0};
  ExchangeWords words;
};

constexpr int64_t kLineNs = 10'000'000;

int64_t Now() { return NowNs(); }

void Pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  Require(sched_setaffinity(0, sizeof(set), &set) == 0, "this processor cannot be used");
}

// Writes every byte; the contents change with `number`.
void Fill(char* body, size_t size, uint64_t number) {
  size_t at = 0;
  for (; at + 8 <= size; at += 8) memcpy(body + at, &number, 8);
  for (; at < size; ++at) body[at] = static_cast<char>(number);
}

// Reads every byte; whether they are those that Fill wrote.
bool Check(std::string_view body, size_t size, uint64_t number) {
  if (body.size() != size) return false;
  uint64_t differs = 0;
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t word;
    memcpy(&word, body.data() + at, 8);
    differs |= word ^ number;
  }
  for (; at < size; ++at) {
    differs |= static_cast<uint64_t>(static_cast<unsigned char>(body[at]) !=
                                     static_cast<unsigned char>(number));
  }
  return differs == 0;
}

void SendOne(End* end, size_t size, uint64_t number) {
  Fill(end->Claim(size), size, number);
  end->Commit(size);
}

void ReceiveOne(End* end, size_t size, uint64_t number) {
  Require(Check(end->Receive(), size, number), "a message differs from what was sent");
}

// What is measured, as the beginning of an object.
constexpr size_t kResultBytes = 512;

// A message with this number is the last one.
constexpr uint64_t kStop = ~uint64_t{0};

void Echo(End* end, size_t size) {
  for (uint64_t number = 1;; ++number) {
    const std::string_view body = end->Receive();
    const bool stop = Check(body, size, kStop);
    Require(stop || Check(body, size, number), "a message differs from what was sent");
    SendOne(end, size, stop ? kStop : number);
    end->Flush();
    if (stop) return;
  }
}

void Latency(End* end, const Settings& settings, char* result) {
  const auto round_trip = [&](uint64_t number) {
    SendOne(end, settings.size, number);
    end->Flush();
    ReceiveOne(end, settings.size, number);
  };
  uint64_t number = 0;
  const int64_t warm = Now() + static_cast<int64_t>(settings.seconds * 1e9 / 4);
  while (Now() < warm) round_trip(++number);
  // Touched, so that no sample pays for a page.
  std::vector<uint32_t> samples(size_t{1} << 22);
  size_t count = 0;
  const int64_t until = Now() + static_cast<int64_t>(settings.seconds * 1e9);
  for (int64_t before = Now(); before < until;) {
    round_trip(++number);
    const int64_t after = Now();
    if (count < samples.size()) {
      samples[count++] = static_cast<uint32_t>(std::min<int64_t>(after - before, UINT32_MAX));
    }
    before = after;
  }
  SendOne(end, settings.size, kStop);
  end->Flush();
  end->Receive();
  samples.resize(count);
  std::sort(samples.begin(), samples.end());
  const auto percentile = [&](double p) {
    return samples[std::min(samples.size() - 1,
                            static_cast<size_t>(p * static_cast<double>(samples.size())))];
  };
  std::snprintf(result, kResultBytes,
                "{\"name\":\"%s\",\"mode\":\"latency\",\"size\":%zu,\"count\":%zu,\"p50_ns\":%u,"
                "\"p90_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u,\"max_ns\":%u",
                settings.name.c_str(), settings.size, samples.size(), percentile(0.5),
                percentile(0.9), percentile(0.99), percentile(0.999), samples.back());
}

void Drain(End* end, const Settings& settings, Shared* shared) {
  const uint64_t step = std::clamp<uint64_t>(65536 / settings.size, 1, 64);
  for (uint64_t number = 1;; ++number) {
    ReceiveOne(end, settings.size, number);
    const uint64_t last = shared->last.load(std::memory_order_relaxed);
    if (number % step == 0 || last != 0) {
      shared->received.store(number, std::memory_order_relaxed);
    }
    if (number == last) return;
  }
}

void Throughput(End* end, const Settings& settings, Shared* shared, char* result) {
  uint64_t number = 0;
  const int step = static_cast<int>(std::clamp<size_t>(65536 / settings.size, 1, 64));
  const auto send_for = [&](double seconds) {
    const int64_t until = Now() + static_cast<int64_t>(seconds * 1e9);
    while (Now() < until) {
      for (int i = 0; i < step; ++i) SendOne(end, settings.size, ++number);
    }
  };
  send_for(settings.seconds / 4);
  const uint64_t received_before = shared->received;
  const int64_t begin = Now();
  send_for(settings.seconds);
  const int64_t finish = Now();
  const uint64_t received = shared->received - received_before;
  // One more, so that the receiver sees which is the last before it waits for another.
  shared->last = number + 1;
  SendOne(end, settings.size, number + 1);
  end->Flush();
  while (shared->received != number + 1) usleep(50);
  const double rate = static_cast<double>(received) * 1e9 / static_cast<double>(finish - begin);
  std::snprintf(result, kResultBytes,
                "{\"name\":\"%s\",\"mode\":\"throughput\",\"size\":%zu,\"count\":%llu,"
                "\"messages_per_s\":%.0f,\"bytes_per_s\":%.0f",
                settings.name.c_str(), settings.size, static_cast<unsigned long long>(received),
                rate, rate * static_cast<double>(settings.size));
}

int Run(const Way& way, const Settings& settings) {
  void* const memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Require(memory != MAP_FAILED, "no memory");
  auto* const shared = new (memory) Shared;
  const std::shared_ptr<void> prepared = way.prepare ? way.prepare(settings.size) : nullptr;
  const bool latency = settings.mode == "latency";
  const auto open = [&](Side side) {
    Pin(settings.cores[side == Side::kSecond]);
    std::unique_ptr<End> end = way.open(prepared, side, settings.size);
    ++shared->ready;
    while (shared->ready < 2) usleep(50);
    return end;
  };
  // L, the round trip of a cache line, before and after, at the places of the two.
  const auto measure_line = [&](Side side, int before) {
    ++shared->met;
    while (shared->met < before + 2) usleep(50);
    return Exchange(shared->words,
                    side == Side::kFirst ? ExchangeSide::kFirst : ExchangeSide::kSecond,
                    ExchangeWait::kSpin, kLineNs);
  };
  const pid_t child = fork();
  Require(child >= 0, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::unique_ptr<End> end = open(Side::kSecond);
    measure_line(Side::kSecond, 0);
    if (latency) {
      Echo(end.get(), settings.size);
    } else {
      Drain(end.get(), settings, shared);
    }
    measure_line(Side::kSecond, 2);
    end.reset();
    _exit(0);
  }
  std::unique_ptr<End> end = open(Side::kFirst);
  char result[kResultBytes];
  const uint32_t before = measure_line(Side::kFirst, 0);
  if (latency) {
    Latency(end.get(), settings, result);
  } else {
    Throughput(end.get(), settings, shared, result);
  }
  const uint32_t after = measure_line(Side::kFirst, 2);
  std::printf("%s,\"line_ns\":[%u,%u]}\n", result, before, after);
  std::fflush(stdout);
  int status = 0;
  waitpid(child, &status, 0);
  end.reset();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace

void Require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "bench: %s (%s)\n", what, strerror(errno));
  _exit(1);
}

int Main(int argc, char** argv, const std::vector<Way>& ways) {
  Settings settings;
  if (argc > 1) settings.mode = argv[1];
  if (argc > 2) settings.name = argv[2];
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--size") settings.size = std::strtoul(argv[i + 1], nullptr, 10);
    if (flag == "--seconds") settings.seconds = std::strtod(argv[i + 1], nullptr);
    if (flag == "--cores")
      std::sscanf(argv[i + 1], "%d,%d", &settings.cores[0], &settings.cores[1]);
  }
  for (const Way& way : ways) {
    if (settings.mode == "list") std::printf("%s\n", way.name.c_str());
    if (way.name == settings.name) return Run(way, settings);
  }
  if (settings.mode == "list") return 0;
  std::fprintf(stderr, "usage: %s latency|throughput NAME [--size N] [--seconds S] [--cores A,B]\n",
               argv[0]);
  return 2;
}

}  // namespace mailrail::bench
