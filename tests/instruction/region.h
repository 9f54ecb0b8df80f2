// Code that a process is killed in after each of its instructions, and what the others find then.
//
//   MAILRAIL_INSTRUCTION_ALL=1     all regions, with more than 100,000 kills (default: some, with
//                                  more than 20,000)
//   MAILRAIL_INSTRUCTION_ROUNDS=N  how often (default: 1); each round after the first one begins
//                                  elsewhere, at random
//   MAILRAIL_TEST_SEED=N           the seed of that, which is printed
#ifndef MAILRAIL_TESTS_INSTRUCTION_REGION_H_
#define MAILRAIL_TESTS_INSTRUCTION_REGION_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "mailrail/message.h"
#include "tests/instruction/channel.h"

namespace mailrail {

// What the victim says of itself. It outlives the victim.
struct Page {
  static constexpr uint64_t kMaxReceived = 64;

  std::atomic<uint64_t> attempted;  // messages that it has begun to send
  std::atomic<uint64_t> told;       // those that it was told OK for
  std::atomic<uint64_t> refused;    // those that it was told an error for
  std::atomic<uint64_t> received;   // how many are in `numbers`
  uint64_t numbers[kMaxReceived];
  std::atomic<bool> settling;  // it has begun what gives a message away for good
  std::atomic<bool> settled;   // it has ended
  std::atomic<bool> broken;    // a body was not whole
  std::atomic<uint64_t> word;  // that it would sleep on
};

// The first number of each sender's messages; they count on from there, over all priorities.
constexpr uint64_t FirstOf(size_t sender) { return 1000 * sender + 1; }

// A message that has come. An empty body, which has no number, is taken for one of a sender that
// uses one priority.
struct Received {
  explicit Received(const Message& message);
  size_t sender = 0;
  uint64_t number = 0;
  int priority = 0;
  size_t size = 0;
  bool intact = false;
  bool redelivered = false;
};

// One process's part in a channel. It is made and prepared once; what follows is done by copies of
// the process that has prepared it, so each begins with the same.
class Region {
 public:
  virtual ~Region() = default;
  virtual Channel& channel() = 0;

  // The region. Begun in one copy, which is killed or interrupted.
  virtual void Act() = 0;
  // Not for one that was killed.
  virtual void AfterAct() {}
  // Those who live on, in another copy. `killed`: else the victim came to its end.
  virtual void Check(bool killed) = 0;

  // What a third one does while the victim is interrupted, before it goes on and comes to its end,
  // and then Check is called: the same copy does both.
  virtual void Meanwhile() {}
  // Whether the victim may want to sleep, and so looks at clocks, in whose code it is not struck;
  // else it must not.
  virtual bool MaySleep() const { return false; }
  // Whether it was about to sleep, at a word that had not changed. For Check.
  bool slept() const { return slept_; }
  // After how many instructions it was killed or interrupted. For Check.
  uint64_t instructions() const { return instructions_; }
  void SetCase(uint64_t instructions, bool slept) {
    instructions_ = instructions;
    slept_ = slept;
  }

  static Page& page();

 private:
  bool slept_ = false;
  uint64_t instructions_ = 0;
};

bool AllRegions();
int Rounds();
bool SomethingHasFailed();

using MakeRegion = std::function<std::unique_ptr<Region>()>;

// Kills the victim after each number of instructions, from none on. Prints how many there were.
void KillAtEachInstruction(const std::string& name, const MakeRegion& make);

// Stops the victim there, while another does its part, and lets it go on.
void InterruptAtEachInstruction(const std::string& name, const MakeRegion& make);

// Random numbers for all rounds after the first one.
std::mt19937_64& Random();

// As often as is asked for: `kill` with each of `some`, and with each of `others` if all are asked
// for; after the first time as it is after `change`.
template <typename Shape>
void ForEachShape(std::vector<Shape> some, const std::vector<Shape>& others,
                  const std::function<void(Shape*)>& change,
                  const std::function<void(const Shape&)>& kill) {
  if (AllRegions()) some.insert(some.end(), others.begin(), others.end());
  for (int round = 0; round < Rounds(); ++round) {
    for (Shape& shape : some) {
      if (round > 0) change(&shape);
      kill(shape);
      if (SomethingHasFailed()) return;
    }
  }
}

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_INSTRUCTION_REGION_H_
