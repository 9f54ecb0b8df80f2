#include "node/peer/session_table.h"

#include <algorithm>
#include <utility>

namespace mailrail {
namespace {

bool Conflict(const StreamSession& a, const StreamSession& b) {
  if (a.peer_incarnation() != b.peer_incarnation()) return true;
  return a.session_class() == b.session_class() && a.dialed() == b.dialed();
}

}  // namespace

std::vector<SessionTable::Stream> SessionTable::Enter(Stream session) {
  std::vector<Stream> displaced;
  std::vector<Entry>& peer = entries_[session->peer_node()];
  for (Entry& entry : peer) {
    if (entry.displaced || !Conflict(*entry.session, *session)) continue;
    entry.displaced = true;
    displaced.push_back(entry.session);
  }
  peer.push_back({std::move(session)});
  ++size_;
  return displaced;
}

std::vector<SessionTable::Stream> SessionTable::TakeOpenable(absl::string_view node) {
  std::vector<Stream> openable;
  const auto found = entries_.find(node);
  if (found == entries_.end()) return openable;
  std::vector<Entry>& peer = found->second;
  for (Entry& entry : peer) {
    if (entry.opened || entry.displaced) continue;
    const bool waits = std::any_of(peer.begin(), peer.end(), [&](const Entry& other) {
      return other.opened && Conflict(*other.session, *entry.session) &&
             other.session != entry.session;
    });
    if (waits) continue;
    entry.opened = true;
    openable.push_back(entry.session);
  }
  return openable;
}

bool SessionTable::Remove(const StreamSession* session) {
  const auto found = entries_.find(session->peer_node());
  if (found == entries_.end()) return false;
  std::vector<Entry>& peer = found->second;
  const auto entry = std::find_if(peer.begin(), peer.end(), [&](const Entry& candidate) {
    return candidate.session.get() == session;
  });
  if (entry == peer.end()) return false;
  const bool opened = entry->opened;
  peer.erase(entry);
  if (peer.empty()) entries_.erase(found);
  --size_;
  return opened;
}

std::vector<SessionTable::Stream> SessionTable::Opened(absl::string_view node) const {
  std::vector<Stream> opened;
  const auto found = entries_.find(node);
  if (found == entries_.end()) return opened;
  for (const Entry& entry : found->second) {
    if (entry.opened && !entry.displaced) opened.push_back(entry.session);
  }
  return opened;
}

std::vector<SessionTable::Stream> SessionTable::All() const {
  std::vector<Stream> all;
  for (const auto& [node, peer] : entries_) {
    for (const Entry& entry : peer) all.push_back(entry.session);
  }
  return all;
}

}  // namespace mailrail
