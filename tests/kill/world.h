#ifndef MAILRAIL_TESTS_KILL_WORLD_H_
#define MAILRAIL_TESTS_KILL_WORLD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mailrail/mailrail.h"
#include "tests/kill/account.h"
#include "tests/support/cluster.h"

namespace mailrail {

// A message that has come.
struct Received {
  explicit Received(const Message& message);
  ProcessId sender;
  uint64_t number = 0;
  int priority = 0;
  size_t size = 0;
  bool intact = false;
  bool redelivered = false;
};

// Until when an operation of those who live on must be done. None of them waits for a victim, so
// this is never reached; that it is so long is for machines that are busy.
inline absl::Time GoOnDeadline() { return absl::Now() + absl::Seconds(10); }

// Takes all that is there now.
void Drain(Receiver& receiver, std::vector<Received>* received);

// OK when all the room that bulk bodies have is free in a sender's lane, or becomes so soon: two of
// its largest messages, whose pages are never touched.
absl::Status CheckRoomIsFree(Sender& sender);

// Those who live on: processes that this program has attached, and what they have opened. They are
// used by the test's thread, but for the witness's inbox, which is the driver's. One thread at a
// time.
class World {
 public:
  // The largest message of the mailboxes "work" and "turn".
  static constexpr size_t kWorkMaxBytes = size_t{3} << 20;

  explicit World(Cluster* cluster);
  ~World();

  Process& witness() { return *witness_; }
  Process& peer() { return *peer_; }
  Process& other() { return *other_; }
  Process& sleeper() { return *sleeper_; }
  const AttachOptions& options() const { return options_; }
  // A victim cannot ask them.
  const std::string& witness_id() const { return witness_id_; }
  const std::string& other_id() const { return other_id_; }
  const std::string& sleeper_id() const { return sleeper_id_; }

  // The mailbox "common": the other receives. The peer sends in OthersGoOn alone.
  Receiver& from_common() { return *from_common_; }
  // The mailbox "work": the peer sends, the other receives.
  Sender& to_work() { return *to_work_; }
  Receiver& from_work() { return *from_work_; }
  // The mailbox "tight", with room for one message of each sender.
  Sender& to_tight() { return *to_tight_; }
  Receiver& from_tight() { return *from_tight_; }
  // The exclusive mailbox "turn": the peer sends.
  Sender& to_turn() { return *to_turn_; }
  // The mailbox "bed": the sleeper receives. And from the peer to the sleeper.
  Receiver& from_bed() { return *from_bed_; }
  Sender& to_bed() { return *to_bed_; }
  Sender& to_sleeper() { return *to_sleeper_; }
  // The broadcast mailbox "news": the peer sends, the other receives twice, and the sleeper.
  Sender& to_news() { return *to_news_; }
  std::array<Receiver*, 3> from_news() {
    return {from_news_[0].get(), from_news_[1].get(), from_news_[2].get()};
  }
  // The mailbox "strict", which holds the order: the peer sends, the other leases.
  Sender& to_strict() { return *to_strict_; }
  Receiver& from_strict() { return *from_strict_; }
  // The mailboxes "rota" and "keyed", whose receivers take turns, or have keys: as "work".
  Sender& to_rota() { return *to_rota_; }
  Receiver& from_rota() { return *from_rota_; }
  Sender& to_keyed() { return *to_keyed_; }
  Receiver& from_keyed() { return *from_keyed_; }

  // The peer sends to the other, directly and through a mailbox; it comes, whole.
  void OthersGoOn();
  // A new process attaches, sends to the other by mailboxes that victims know, and leaves.
  void NewcomerGoesOn();
  // Everybody reads what is to be read, and finds no message.
  void ExpectNothingIsLeft();
  // Of the keeper, the agent and this program.
  Account TakeAccount();

 private:
  Cluster* const cluster_;
  AttachOptions options_;
  std::unique_ptr<Process> witness_, peer_, other_, sleeper_;
  std::string witness_id_, other_id_, sleeper_id_;
  std::unique_ptr<Sender> to_other_, to_common_, to_work_, to_tight_, to_turn_, to_bed_,
      to_sleeper_, to_news_, to_strict_, to_rota_, to_keyed_;
  std::unique_ptr<Receiver> from_common_, from_work_, from_tight_, from_bed_, from_strict_,
      from_rota_, from_keyed_;
  std::array<std::unique_ptr<Receiver>, 3> from_news_;
  uint64_t last_number_ = 1'000'000;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_KILL_WORLD_H_
