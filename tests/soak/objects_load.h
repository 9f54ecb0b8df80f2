// What the processes of the objects' soak do: locks, semaphores, barriers, pipes and shared values,
// each with what shows whether it keeps its promises.
#ifndef MAILRAIL_TESTS_SOAK_OBJECTS_LOAD_H_
#define MAILRAIL_TESTS_SOAK_OBJECTS_LOAD_H_

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace mailrail::soak {

enum class ObjectsStage : uint32_t { kRun, kWritersLeave, kAllLeave };

// What a lock guards: the counters differ only inside of it.
struct Guarded {
  std::atomic<uint64_t> first, second;
  std::atomic<uint64_t> inside;  // the life that is in it
  std::atomic<uint64_t> fence;   // the last token
};

// In memory that all share, and which outlives them.
struct Board {
  static constexpr size_t kPlaces = 24;
  static constexpr size_t kLives = 1024;
  static constexpr size_t kTexts = 8;

  std::atomic<ObjectsStage> stage;
  Guarded mutex, shared;
  // By place.
  struct Place {
    std::atomic<bool> has_unit;
    std::atomic<bool> doomed;  // it is about to be killed
  };
  Place places[kPlaces];
  std::atomic<uint32_t> last_round;  // the last of the barrier that somebody has passed, + 1
  // By life, of writes to the pipe: how many it was told OK for, and which one was read last.
  std::atomic<uint32_t> written[kLives], read[kLives];
  std::atomic<uint64_t> lost_writes, ends;
  // Of the shared value: {life, version} that its writer was told OK for, and where it is.
  std::atomic<uint64_t> published;
  std::atomic<uint32_t> value_life;
  std::atomic<pid_t> value_pid;
  std::atomic<int> value_descriptors[2];
  // How much was done.
  std::atomic<uint64_t> locks, looks, units, rounds, writes, versions, deaths_told;
  std::atomic<uint64_t> violations;
  char texts[kTexts][500];

  void Report(absl::string_view violation);
};

struct ObjectsOrders {
  std::string socket;
  bool far = false;  // of another node than the objects'
  uint64_t seed = 0;
  uint32_t life = 0;  // from 1
  size_t place = 0;
  Board* board = nullptr;
};

inline constexpr uint32_t kUnits = 3, kParties = 3;

// Makes what the others use.
void MakeObjects(const ObjectsOrders& orders);

// Each until its stage comes.
void RunLocker(const ObjectsOrders& orders);
void RunParty(const ObjectsOrders& orders);
void RunPipeWriter(const ObjectsOrders& orders);
void RunPipeReader(const ObjectsOrders& orders);
void RunValueWriter(const ObjectsOrders& orders);
void RunValueReader(const ObjectsOrders& orders);
// The same of a value by name: its writers take turns, and a reader of another node has a replica.
void RunNamedValueWriter(const ObjectsOrders& orders);
void RunNamedValueReader(const ObjectsOrders& orders);

// When nobody is left: all is free, and was told of at most once.
void CheckObjects(const ObjectsOrders& orders);

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_OBJECTS_LOAD_H_
