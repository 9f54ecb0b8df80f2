// Runs a scenario once to count its steps, then once for each step, at which its victim is killed,
// or stopped for as long as the others are looked at.
//
//   MAILRAIL_KILL_EVERY=N    takes every Nth step only (default: every step)
//   MAILRAIL_KILL_VERBOSE=1  says of each step where it stands, and how long its case took
#ifndef MAILRAIL_TESTS_KILL_DRIVER_H_
#define MAILRAIL_TESTS_KILL_DRIVER_H_

#include <functional>
#include <memory>
#include <string>

#include "tests/kill/scenario.h"
#include "tests/kill/victim.h"
#include "tests/kill/world.h"

namespace mailrail {

using MakeScenario = std::function<std::unique_ptr<Scenario>(World* world)>;

// Every case of one scenario, in a world of its own, with all checks. Prints how many steps and
// cases there were.
void StrikeAtEachStep(const std::string& name, Strike strike, const MakeScenario& make);

// Notes that somebody has now what the victim held when it was killed.
void NoteRecovery();

// Two tests, "killed at each step" and "stopped at each step", of the Scenario class `Class`, made
// with the world and these arguments.
#define MAILRAIL_KILL_SCENARIO(Name, Class, ...)                                        \
  const MakeScenario make##Name = [](World* world) {                                    \
    return std::make_unique<Class>(world __VA_OPT__(, ) __VA_ARGS__);                   \
  };                                                                                    \
  TEST(Name, KilledAtEachStep) { StrikeAtEachStep(#Name, Strike::kKill, make##Name); }  \
  TEST(Name, StoppedAtEachStep) { StrikeAtEachStep(#Name, Strike::kStop, make##Name); } \
  static_assert(true)

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_KILL_DRIVER_H_
