#include "tests/model/checker.h"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <unordered_map>

#include "tests/model/checked_step.h"
#include "tests/model/shared_memory.h"
// After all others: it defines words of theirs as macros.
#undef atomic_thread_fence
#include <relacy/relacy.hpp>
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef FlushProcessWriteBuffers

namespace mailrail::model {
namespace {

using Atomic = rl::generic_atomic<uint64_t, true>;
using Plain = rl::var<uint64_t>;

enum class Kind { kLoad, kStore, kExchange, kAdd, kOr, kAnd, kCompare, kFence };
constexpr const char* kKinds[] = {"load",     "store",     "exchange", "fetch_add",
                                  "fetch_or", "fetch_and", "compare",  "fence"};

// An operation, by its place.
struct Place {
  std::string function;
  Kind kind;
  uint32_t line, column;
  std::memory_order order;

  auto Key() const { return std::tie(function, kind, line, column); }
  bool operator<(const Place& other) const { return Key() < other.Key(); }
};

struct PlaceHash {
  size_t operator()(const std::pair<const char*, uint64_t>& key) const {
    return std::hash<const void*>()(key.first) ^ std::hash<uint64_t>()(key.second);
  }
};

// All runs together.
struct Registry {
  std::set<Place> places;
  std::map<std::string, std::set<Place>> executed;  // by scenario
  // Function, and line, column and kind: what the order is to be.
  std::unordered_map<std::pair<const char*, uint64_t>, std::memory_order, PlaceHash> orders;
  const Weakened* weakened = nullptr;
};
Registry registry;

// Of the scenario that runs: which words it uses as atomics, found out as it goes.
std::set<const void*> words;

constexpr size_t kShared = size_t{1} << 20;
alignas(128) char shared[kShared];
size_t shared_used = 0;

const NamedScenario* current = nullptr;  // the scenario that runs

// "mailrail::RingWriter::Publish(...)" is "RingWriter::Publish".
std::string ShortName(std::string_view function) {
  function = function.substr(0, function.find('('));
  if (const size_t space = function.rfind(' '); space != std::string_view::npos) {
    function.remove_prefix(space + 1);
  }
  while (!function.empty() && (function[0] == '*' || function[0] == '&')) function.remove_prefix(1);
  constexpr std::string_view kNamespace = "mailrail::";
  if (function.substr(0, kNamespace.size()) == kNamespace) {
    function.remove_prefix(kNamespace.size());
  }
  return std::string(function);
}

// The names of all places, in their order.
std::map<const Place*, std::string> Names() {
  std::map<const Place*, std::string> names;
  std::map<std::string, int> counts;
  for (const Place& place : registry.places) {
    const std::string name = place.function + " " + kKinds[static_cast<int>(place.kind)];
    names[&place] = name + " " + std::to_string(counts[name]++);
  }
  return names;
}

// The order in which this run executes an operation.
std::memory_order OrderAt(Kind kind, std::memory_order order, const Where& where) {
  if (order == std::memory_order_relaxed) return order;
  const std::pair key{where.function_name(), uint64_t{where.line()} << 32 |
                                                 uint64_t{where.column()} << 8 |
                                                 static_cast<uint64_t>(kind)};
  if (const auto found = registry.orders.find(key); found != registry.orders.end()) {
    return found->second;
  }
  if (std::string_view(where.file_name()).find("core/") != std::string_view::npos) {
    const Place place{ShortName(where.function_name()), kind, where.line(), where.column(), order};
    const Place& kept = *registry.places.insert(place).first;
    registry.executed[current->name].insert(place);
    if (registry.weakened != nullptr && Names()[&kept] == registry.weakened->site) {
      order = registry.weakened->order;
    }
  }
  registry.orders[key] = order;
  return order;
}

// One run.
struct State {
  std::unordered_map<const void*, std::unique_ptr<Atomic>> atomics;
  std::unordered_map<uintptr_t, std::unique_ptr<Plain>> plain;
  std::unique_ptr<Scenario> scenario;
  // How a sequentially consistent operation is made of a fence and one that acquires or releases:
  // with the fence before it or after it. Each is enough, and each hides what the other shows.
  bool fence_before = false;
  bool fence_after = false;
};
State* state = nullptr;

rl::debug_info Info(const Where& where) {
  return rl::debug_info(where.function_name(), where.file_name(), where.line());
}

Atomic& At(const void* word) {
  std::unique_ptr<Atomic>& atomic = state->atomics[word];
  if (atomic == nullptr) {
    atomic = std::make_unique<Atomic>();
    words.insert(word);
  }
  return *atomic;
}

Plain& PlainAt(uintptr_t word) {
  std::unique_ptr<Plain>& plain = state->plain[word];
  if (plain == nullptr) plain = std::make_unique<Plain>();
  return *plain;
}

// Executes `operation`, which gets the order that is left when fences are taken out of it.
template <typename Operation>
auto Execute(Kind kind, std::memory_order order, const Where& where, const Operation& operation) {
  order = OrderAt(kind, order, where);
  const bool fenced = order == std::memory_order_seq_cst;
  if (fenced) {
    order = kind == Kind::kLoad    ? std::memory_order_acquire
            : kind == Kind::kStore ? std::memory_order_release
                                   : std::memory_order_acq_rel;
  }
  rl::memory_order left = rl::mo_relaxed;
  if (order == std::memory_order_acquire) left = rl::mo_acquire;
  if (order == std::memory_order_release) left = rl::mo_release;
  if (order == std::memory_order_acq_rel) left = rl::mo_acq_rel;
  const rl::debug_info info = Info(where);
  if (fenced && state->fence_before) rl::atomic_thread_fence(rl::mo_seq_cst, info);
  const auto result = operation(left, info);
  if (fenced && state->fence_after) rl::atomic_thread_fence(rl::mo_seq_cst, info);
  return result;
}

// Relacy's own count of allocations is not for the code that runs under it.
struct Allocations : rl::context {
  static void DoNotCount() {
    int rl::context::*const off = &Allocations::disable_alloc_;
    rl::ctx().*off = 1;
  }
};

template <int kThreads>
struct Suite : rl::test_suite<Suite<kThreads>, kThreads> {
  Suite() {
    Allocations::DoNotCount();
    state = new State;
    // A zero that was stored before the threads began may be read by one that has not seen what
    // came after it; one that Relacy itself puts there may not.
    for (const void* const word : words) At(word).store(0, rl::mo_relaxed, rl::debug_info("zero"));
    shared_used = 0;
    state->scenario = current->make();
    // Not by the first number, which hardly depends on the seed.
    for (int i = 0; i < 8; ++i) rl::rand(2);
    if (current->total_order) (rl::rand(2) == 0 ? state->fence_before : state->fence_after) = true;
  }
  // Only after a run that passed: what others leave behind is lost.
  ~Suite() {
    delete state;
    state = nullptr;
  }
  void before() { state->scenario->Begin(); }
  void thread(unsigned index) { state->scenario->Thread(static_cast<int>(index)); }
  void after() { state->scenario->End(); }
};

template <int kThreads>
Outcome RunThreads(uint64_t runs, bool explain) {
  rl::test_params params;
  std::ostringstream output, progress;
  params.iteration_count = runs;
  params.output_stream = &output;
  params.progress_stream = &progress;
  params.execution_depth_limit = 20000;
  Outcome outcome;
  if (explain) {
    outcome.passed = rl::simulate<Suite<kThreads>>(params);
    if (!outcome.passed) outcome.failure = output.str();
  } else {
    rl::ostringstream state_of_scheduler;
    using Scheduler = rl::random_scheduler<Suite<kThreads>::params::thread_count>;
    const rl::test_result_e result =
        rl::run_test<Suite<kThreads>, Scheduler>(params, state_of_scheduler, false);
    outcome.passed = result == rl::test_result_success;
    if (!outcome.passed) outcome.failure = rl::test_result_str(result);
  }
  outcome.runs = params.stop_iteration;
  return outcome;
}

}  // namespace

char* SharedBytes(size_t bytes) {
  char* const begin = shared + shared_used;
  shared_used += (bytes + 127) / 128 * 128;
  Require(shared_used <= kShared, "too much shared memory");
  memset(begin, 0, bytes);
  return begin;
}

uint64_t Load(const void* word, std::memory_order order, const Where& where) {
  return Execute(Kind::kLoad, order, where, [&](rl::memory_order left, rl::debug_info_param info) {
    return At(word).load(left, info);
  });
}

void Store(void* word, uint64_t value, std::memory_order order, const Where& where) {
  Execute(Kind::kStore, order, where, [&](rl::memory_order left, rl::debug_info_param info) {
    At(word).store(value, left, info);
    return 0;
  });
}

uint64_t Exchange(void* word, uint64_t value, std::memory_order order, const Where& where) {
  return Execute(Kind::kExchange, order, where,
                 [&](rl::memory_order left, rl::debug_info_param info) {
                   return At(word).exchange(value, left, info);
                 });
}

uint64_t FetchAdd(void* word, uint64_t value, std::memory_order order, const Where& where) {
  return Execute(Kind::kAdd, order, where, [&](rl::memory_order left, rl::debug_info_param info) {
    return At(word).fetch_add(value, left, info);
  });
}

uint64_t FetchOr(void* word, uint64_t value, std::memory_order order, const Where& where) {
  return Execute(Kind::kOr, order, where, [&](rl::memory_order left, rl::debug_info_param info) {
    return At(word).fetch_or(value, left, info);
  });
}

uint64_t FetchAnd(void* word, uint64_t value, std::memory_order order, const Where& where) {
  return Execute(Kind::kAnd, order, where, [&](rl::memory_order left, rl::debug_info_param info) {
    return At(word).fetch_and(value, left, info);
  });
}

bool CompareExchange(void* word, uint64_t* expected, uint64_t desired, std::memory_order order,
                     bool may_fail, const Where& where) {
  return Execute(Kind::kCompare, order, where,
                 [&](rl::memory_order left, rl::debug_info_param info) {
                   Atomic& atomic = At(word);
                   return may_fail ? atomic.compare_exchange_weak(*expected, desired, left, info)
                                   : atomic.compare_exchange_strong(*expected, desired, left, info);
                 });
}

void Fence(std::memory_order order, const Where& where) {
  order = OrderAt(Kind::kFence, order, where);
  if (order != std::memory_order_relaxed) rl::atomic_thread_fence(rl::mo_seq_cst, Info(where));
}

void WritePlain(const void* from, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(from) / 8;
  const auto end = (reinterpret_cast<uintptr_t>(from) + bytes + 7) / 8;
  for (uintptr_t word = begin; word < end; ++word) PlainAt(word)(rl::debug_info("plain")).store(1);
}

void ReadPlain(const void* from, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(from) / 8;
  const auto end = (reinterpret_cast<uintptr_t>(from) + bytes + 7) / 8;
  for (uintptr_t word = begin; word < end; ++word) PlainAt(word)(rl::debug_info("plain")).load();
}

void Require(bool condition, const char* what) {
  if (!condition) {
    rl::ctx().fail_test(what, rl::test_result_user_assert_failed, rl::debug_info(what));
  }
}

unsigned Choose(unsigned limit) { return rl::rand(limit); }

std::vector<std::memory_order> WeakerThan(const Site& site) {
  const auto is = [&](Kind kind) {
    return site.name.find(std::string(" ") + kKinds[static_cast<int>(kind)] + " ") !=
           std::string::npos;
  };
  if (site.order != std::memory_order_seq_cst || is(Kind::kFence)) {
    return {std::memory_order_relaxed};
  }
  if (is(Kind::kLoad)) return {std::memory_order_acquire, std::memory_order_relaxed};
  if (is(Kind::kStore)) return {std::memory_order_release, std::memory_order_relaxed};
  return {std::memory_order_acq_rel, std::memory_order_relaxed};
}

std::string NameOf(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    default:
      return "seq_cst";
  }
}

Outcome RunScenario(const NamedScenario& scenario, uint64_t runs, const Weakened* weakened) {
  current = &scenario;
  registry.weakened = weakened;
  registry.orders.clear();
  words.clear();
  const bool explain = weakened == nullptr;
  return scenario.threads == 2 ? RunThreads<2>(runs, explain) : RunThreads<3>(runs, explain);
}

bool Executes(const NamedScenario& scenario, const std::string& site) {
  const std::map<const Place*, std::string> names = Names();
  return std::any_of(names.begin(), names.end(), [&](const auto& each) {
    return each.second == site && registry.executed[scenario.name].contains(*each.first);
  });
}

std::vector<Site> SitesSeen() {
  std::vector<Site> sites;
  for (const auto& [place, name] : Names()) sites.push_back({name, place->order});
  std::sort(sites.begin(), sites.end(),
            [](const Site& a, const Site& b) { return a.name < b.name; });
  return sites;
}

}  // namespace mailrail::model

// What the code calls of core/shm that is not a matter of memory orders.
#include "core/shm/barrier.h"
#include "core/shm/futex.h"

namespace mailrail {

bool RegisterForBarriers() { return true; }

bool BarrierForAll() {
  rl::systemwide_fence(rl::debug_info("BarrierForAll"));
  return true;
}

// Scenarios ask whether a thread that would sleep here would be woken.
void FutexWakeAll(const SharedAtomic<uint32_t>*) {}

}  // namespace mailrail
