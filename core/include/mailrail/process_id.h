#ifndef MAILRAIL_PROCESS_ID_H_
#define MAILRAIL_PROCESS_ID_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mailrail {

// Identifies one life of one process in the cluster: `4711.3@alpha` is pid 4711 in its incarnation
// 3 on node alpha. A reused pid has another incarnation, so it never receives another's mail. The
// pid is the one that the node's agent sees, which in a container may differ from getpid().
//
// A small value: copying costs no allocation. Thread-safe.
class ProcessId {
 public:
  // No process: empty node, pid 0.
  ProcessId() = default;
  // An incarnation of 0 stands for "the living process with this pid".
  ProcessId(absl::string_view node, int32_t pid, uint64_t incarnation);

  // Parses `4711.3@alpha`, and the short forms `4711@alpha`, `4711.3` and `4711`, which leave the
  // incarnation 0 or the node empty. kInvalidArgument for anything else.
  static absl::StatusOr<ProcessId> Parse(absl::string_view text);

  const std::string& node() const { return node_ == nullptr ? NoNode() : *node_; }
  int32_t pid() const { return pid_; }
  uint64_t incarnation() const { return incarnation_; }

  // The text form, which Parse reads.
  std::string ToString() const;

  friend bool operator==(const ProcessId& a, const ProcessId& b) {
    return a.pid_ == b.pid_ && a.incarnation_ == b.incarnation_ && a.node_ == b.node_;
  }
  friend bool operator!=(const ProcessId& a, const ProcessId& b) { return !(a == b); }
  template <typename H>
  friend H AbslHashValue(H h, const ProcessId& id) {
    return H::combine(std::move(h), id.node_, id.pid_, id.incarnation_);
  }
  friend std::ostream& operator<<(std::ostream& out, const ProcessId& id) {
    return out << id.ToString();
  }

 private:
  static const std::string& NoNode();

  // Node names are interned for the life of the program (there are as many as nodes were seen), so
  // that an id is three words and equality of nodes is equality of pointers.
  const std::string* node_ = nullptr;  // null: empty
  int32_t pid_ = 0;
  uint64_t incarnation_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_PROCESS_ID_H_
