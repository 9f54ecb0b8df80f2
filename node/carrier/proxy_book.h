#ifndef MAILRAIL_NODE_CARRIER_PROXY_BOOK_H_
#define MAILRAIL_NODE_CARRIER_PROXY_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <list>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "core/shm/memory.h"
#include "node/carrier/proxy_note.h"
#include "proto/peer.pb.h"

namespace mailrail {

// One delivery, as the receiver's node knows it.
struct ProxyDelivery {
  enum class Step {
    kWaiting,    // it has no room yet
    kPublished,  // it can be taken
    kHeld,       // the receiver has claimed it
    kDecided,    // the home was told what became of it
  };
  enum class Verdict {
    kTaken,
    kNotTaken,
    kReturned,  // it was seen, and not taken
    kRefused,   // it could never be taken
  };

  proto::LeaseName lease;
  Step step = Step::kWaiting;
  uint64_t position = 0;  // in the private lane, once published
  uint32_t ask = 0;       // by which number a message was wanted when it was published
  bool told_held = false;
  // The home has given up on it: nothing more is said of it.
  bool ended = false;
  Verdict verdict = Verdict::kNotTaken;  // when decided
  absl::Time due;                        // of kReturned
  size_t note = 0;

  int priority() const { return static_cast<int>(lease.priority()); }
};

// The deliveries to one proxy: those that are open, at most `most_open`, and as many of those that
// were decided last. What the home has not heard the outcome of is among these. For it hears what
// its receiver's node says in order; so of what was decided before the last Want that it has
// answered it has heard, and since then no others were decided than those that were open then, or
// are that answer.
//
// Thread-compatible. The memory outlives it.
class ProxyBook {
 public:
  // `control`: of kProxyControlBytes, with what a book before this one has noted; without room for
  // notes nothing is.
  ProxyBook(const Mapping& control, size_t most_open);

  // Takes up what was noted: of what is open, what `published` says to stand in the private lane is
  // kPublished now, and the rest is forgotten.
  void Restore(absl::FunctionRef<bool(const ProxyDelivery&)> published);

  // In the order in which they came, and were decided. Pointers stay valid until a delivery is
  // forgotten, or, once it is decided, until another one is.
  std::list<ProxyDelivery>& open() { return open_; }
  const std::list<ProxyDelivery>& decided() const { return decided_; }
  bool full() const { return open_.size() >= most_open_; }

  // The one that `delivery` is, sent again; null when it is another one.
  ProxyDelivery* Find(const proto::Delivery& delivery);
  // The open one that stands there in the private lane, or null.
  ProxyDelivery* FindOpen(int priority, uint64_t position);

  // A new one. Others of the same message have ended, or the home would not have delivered it anew.
  // REQUIRES: !full().
  ProxyDelivery* Add(const proto::LeaseName& lease);
  // It has this number now; unless its own is a later one, as when what was sent again before it,
  // on the other session, comes after it.
  void Renumber(ProxyDelivery* delivery, uint64_t number);
  // It is about to be published at this position of the private lane.
  void NotePosition(ProxyDelivery* delivery, uint64_t position);
  // From now on it is to become this, whatever dies; `due`: of kReturned.
  void NoteVerdict(ProxyDelivery* delivery, ProxyDelivery::Verdict verdict, absl::Time due);
  // It was: an open one is decided now, or, if it had ended, forgotten. False in that case.
  bool Decide(ProxyDelivery* delivery);

 private:
  using Place = std::list<ProxyDelivery>::iterator;

  // Null when there is no memory for it.
  volatile ProxyNote* note(const ProxyDelivery& delivery) const {
    return notes_ == nullptr ? nullptr : notes_ + delivery.note;
  }
  Place PlaceOf(const ProxyDelivery* delivery);
  size_t FreeNote() const;
  void Forget(std::list<ProxyDelivery>* list, Place place);

  volatile ProxyNote* const notes_;
  const size_t most_open_;
  uint64_t next_turn_ = 1;
  bool used_[ProxyNote::kCount] = {};  // notes
  std::list<ProxyDelivery> open_;
  std::list<ProxyDelivery> decided_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_PROXY_BOOK_H_
