// Runs pieces of Mailrail's code under Relacy, which looks for an order of their steps, and for
// values that the C++ memory model lets them read, under which something is wrong.
#ifndef MAILRAIL_TESTS_MODEL_CHECKER_H_
#define MAILRAIL_TESTS_MODEL_CHECKER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mailrail::model {

// What some threads do with shared memory. A new one is made for each run of them.
class Scenario {
 public:
  virtual ~Scenario() = default;
  // Before the threads, and after them: everything is ordered with these.
  virtual void Begin() {}
  virtual void Thread(int index) = 0;
  virtual void End() {}
};

struct NamedScenario {
  std::string name;
  int threads;  // 2 or 3
  // Whether it is about two who each write one word and then read the other's. In all others a
  // sequentially consistent operation is run as one that acquires and releases, so that it is seen
  // what that much is needed for.
  bool total_order;
  std::function<std::unique_ptr<Scenario>()> make;
};

// Ends this run of the scenario as a failure when `condition` is false.
void Require(bool condition, const char* what);

// A number below `limit`, another one in each run.
unsigned Choose(unsigned limit);

// An operation in the code, as it is named here: "RingWriter::Publish exchange 0", the first
// exchange of that function; and the order of memory that it asks for.
struct Site {
  std::string name;
  std::memory_order order;
};

// What a run executes in place of an order.
struct Weakened {
  std::string site;
  std::memory_order order;  // a fence that is weakened to memory_order_relaxed is left out
};

// The weaker orders that an operation may have in place of its own.
std::vector<std::memory_order> WeakerThan(const Site& site);
std::string NameOf(std::memory_order order);

struct Outcome {
  bool passed;
  std::string failure;  // of which kind, and what happened before if it was asked for
  uint64_t runs;
};

// Runs the scenario so many times, or until it fails. The same runs each time.
Outcome RunScenario(const NamedScenario& scenario, uint64_t runs,
                    const Weakened* weakened = nullptr);

// Whether a run of this scenario has executed the operation.
bool Executes(const NamedScenario& scenario, const std::string& site);

// The operations of core/ with an order stronger than relaxed that runs so far have executed. Names
// count the operations of a function that were seen: first run all scenarios.
std::vector<Site> SitesSeen();

}  // namespace mailrail::model

#endif  // MAILRAIL_TESTS_MODEL_CHECKER_H_
