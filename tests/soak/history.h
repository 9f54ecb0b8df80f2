// What processes did to destinations, each call and each return with its time, recorded so that it
// outlives a SIGKILL of the process that records.
#ifndef MAILRAIL_TESTS_SOAK_HISTORY_H_
#define MAILRAIL_TESTS_SOAK_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail::soak {

// CLOCK_MONOTONIC in nanoseconds: one clock for all processes of a host.
int64_t NowNs();

// What a process is called in events: an inbox as a destination, a sender in what was received.
// Never below kFirstKey, so that mailboxes have small numbers.
inline constexpr uint64_t kFirstKey = 1 << 16;
uint64_t KeyOf(const ProcessId& id);

enum class EventKind : uint8_t {
  kAttached = 1,   // destination: the process's own key
  kSendCall,       // destination, value, bytes, priority
  kSendReturn,     // destination, value, status
  kReceiveCall,    // destination
  kReceiveReturn,  // destination, status; of a message also value, bytes, priority, sequence, peer
  kWatched,        // peer: its end is to be told in this process's inbox
  kEndTold,        // as kReceiveReturn; the end of peer, reason
  kCallFailed,     // a call to the agent (attach, connect, open, ...): status
  kSettleCall,     // destination, value: the message received last is acknowledged, or given back
  kSettleReturn,   // the same, status
};

// One line of a journal.
struct Event {
  EventKind kind = EventKind::kAttached;
  uint8_t priority = 0;
  absl::StatusCode status = absl::StatusCode::kOk;
  bool redelivered = false;
  bool intact = true;  // the body was what belongs to its number and size
  EndReason reason = EndReason::kNone;
  uint32_t bytes = 0;
  bool acknowledges = false;  // else it is given back
  int64_t time_ns = 0;
  uint64_t destination = 0;
  uint64_t value = 0;     // unique in the whole run
  uint64_t sequence = 0;  // as Message::sequence says
  uint64_t peer = 0;      // key of Message::sender
};

// A process's events in memory that it shares with the one who reads them. There is one writer; an
// event is there when the count is, which is stored last: one that its writer did not finish is not
// there. Shared between processes, by fork. Thread-compatible.
class Journal {
 public:
  // Maps memory for so many events; it costs what is written.
  explicit Journal(size_t capacity);
  Journal(Journal&& other) noexcept;
  Journal& operator=(Journal&&) = delete;
  ~Journal();

  // Adds `event`, with the time of now where it has none. REQUIRES: room() > 0.
  void Append(Event event);
  size_t room() const;
  // How many there are by now.
  uint64_t count() const;

  // All that is there. kDataLoss when one is not as it was written.
  absl::StatusOr<std::vector<Event>> Read() const;

  // The memory of the events, one of kEventBytes after another: for tests.
  static constexpr size_t kEventBytes = 64;
  char* events();

 private:
  struct Header;
  struct Line;

  size_t bytes() const;
  Line* lines() const;

  Header* header_ = nullptr;
  size_t capacity_ = 0;
};

// The whole life of one process.
struct Life {
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  std::string name;  // for reports
  int node = 0;
  bool left = false;  // it has ended by itself
  bool killed = false;
  int64_t struck_ns = kNever;  // before it was killed
  int64_t died_ns = kNever;    // after it was known to be dead
  std::vector<Event> events;   // in the order of their happening
};

// When a node's agent did not answer, or might not.
struct Outage {
  int node = 0;
  int64_t begin_ns = 0;
  int64_t end_ns = Life::kNever;
};

struct History {
  std::vector<Life> lives;
  std::vector<Outage> outages;
  std::map<uint64_t, int> mailboxes;  // the node at which each is at home
  // Those of them whose receivers acknowledge by hand: how long a lease is.
  std::map<uint64_t, int64_t> lease_ns;
  // Nobody can have observed that one call returned before another began when it was by less: what
  // a send has stored is on its way to the memory that others see for as long.
  int64_t unobservable_ns = 0;
};

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_HISTORY_H_
