#ifndef MAILRAIL_TESTS_KILL_SCENARIO_H_
#define MAILRAIL_TESTS_KILL_SCENARIO_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mailrail/mailrail.h"
#include "tests/kill/victim.h"
#include "tests/kill/world.h"

namespace mailrail {

// Bodies that stand in a lane itself, and in the room for large ones.
inline constexpr size_t kSmall = 40, kLarge = 20000;
// In this order the peer sends, where a victim receives.
inline constexpr size_t kSizes[] = {kSmall, kLarge, kSmall, 500, kLarge, kSmall};

// One case: what a victim does, and what those who live on find. Half of it runs in the victim,
// half in the driver; they share no more than the Page.
class Scenario {
 public:
  explicit Scenario(World* world) : world_(*world) {}
  virtual ~Scenario() = default;

  // --- In the victim, in this order.
  // Before the driver knows of it.
  virtual void Prepare() { Attach(); }
  // The driver is ready; not in the window yet.
  virtual void BeforeAct() {}
  // The window: each step in here is a case.
  virtual void Act() = 0;
  // Not for one that was killed.
  virtual void Finish() {}
  // The end. REQUIRES: destroys what was made, last of all the process.
  virtual void Leave() { process_.reset(); }

  // --- In the driver, in this order.
  // The victim is prepared, and watched.
  virtual void Ready() {}
  // It stands at its step, stopped, or after its last one; or it was killed there just now.
  virtual void During(bool /*killed*/) { world_.OthersGoOn(); }
  // Again and again until it has come to its end.
  virtual void Meanwhile() {}
  // It is gone. `killed`: else it came to its end.
  virtual void After(bool killed) = 0;

  // Whether one that was killed may have this as the reason of its end.
  virtual bool MayEnd(EndReason reason) const { return reason == EndReason::kKilled; }

  void set_victim(const ProcessId& id) { victim_ = id; }
  // What has come from the victim to the witness; by another thread.
  void OnMessage(const Message& message);
  std::string VictimId() const { return process_ == nullptr ? "" : process_->id().ToString(); }

 protected:
  static Page& page() { return Victim::page(); }

  // --- In the victim.
  void Attach();
  // What was made, or the victim fails.
  template <typename T>
  static std::unique_ptr<T> Must(absl::StatusOr<T> made) {
    if (!made.ok()) Victim::Fail(made.status().ToString());
    return std::make_unique<T>(*std::move(made));
  }
  // Sends the next message; whether it was told OK. Anything but no room is a failure.
  bool SendNext(Sender& sender, size_t size, int priority = 0,
                absl::Time deadline = GoOnDeadline());
  // Notes a message that was received, for the first time unless it `may_come_again`.
  static void Note(const Message& message, bool may_come_again = false);
  // Receives and notes one; false when there is none.
  static bool ReceiveNext(Receiver& receiver, absl::Time deadline);

  // --- In the driver.
  // What the peer says of its message with this number, beside its priority.
  virtual SendOptions OptionsOf(uint64_t /*number*/) const { return {}; }
  // Messages of the peer keep their order if this is the same of them; usually if they have the
  // same priority.
  virtual uint64_t GroupOf(const Received& message) const {
    return static_cast<uint64_t>(message.priority);
  }
  // The peer's next message of this size.
  void SendFromPeer(Sender& sender, size_t size, int priority = 0);
  // What the victim was told OK for, and maybe the one message more that it was sending, has come
  // once, whole and in order. `received` may have others' messages too.
  void ExpectAllOfTheVictims(const std::vector<Received>& received) const;
  // Every message of the peer was received, by the victim, as it has noted, or by others, whose
  // are `received`; one may be neither if the victim was `killed`, which was receiving it.
  // `given_back`: how many messages the victim may have had and given back.
  void ExpectAllOfThePeers(const std::vector<Received>& received, bool killed,
                           int given_back = 0) const;

  World& world_;
  std::unique_ptr<Process> process_;     // the victim's
  ProcessId victim_;                     // in the driver
  uint64_t from_peer_ = 0;               // how many messages the peer has sent
  std::vector<Received> to_witness_;     // complete once the victim is gone
  std::atomic<uint64_t> witnessed_ = 0;  // how many these are
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_KILL_SCENARIO_H_
