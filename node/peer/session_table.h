#ifndef MAILRAIL_NODE_PEER_SESSION_TABLE_H_
#define MAILRAIL_NODE_PEER_SESSION_TABLE_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "node/peer/stream_session.h"

namespace mailrail {

// The sessions whose handshake succeeded, and which of them must have ended before another may
// open: a session displaces those of its peer that have another incarnation, or the same class and
// direction. One thread at a time.
class SessionTable {
 public:
  using Stream = std::shared_ptr<StreamSession>;

  // Enters a session and returns those that it displaces, which the caller ends.
  std::vector<Stream> Enter(Stream session);

  // The sessions of a peer that may be opened now, since what they displaced is removed. Each is
  // given out once, and counts as opened.
  std::vector<Stream> TakeOpenable(absl::string_view node);

  // Takes out a session that has ended. Whether it had been opened.
  bool Remove(const StreamSession* session);

  // A peer's sessions that are opened and not displaced.
  std::vector<Stream> Opened(absl::string_view node) const;

  bool Has(absl::string_view node) const { return entries_.find(node) != entries_.end(); }
  std::vector<Stream> All() const;
  size_t size() const { return size_; }

 private:
  struct Entry {
    Stream session;
    bool opened = false;
    bool displaced = false;
  };

  std::map<std::string, std::vector<Entry>, std::less<>> entries_;
  size_t size_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_SESSION_TABLE_H_
