#ifndef MAILRAIL_NODE_AGENT_WATCH_H_
#define MAILRAIL_NODE_AGENT_WATCH_H_

#include <cstdint>
#include <string>

#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail {

// What can be watched: one life of a process, one mailbox (not the next of its name), a node.
struct Subject {
  Ended::Kind kind = Ended::Kind::kNothing;
  ProcessId process;
  std::string node;  // where it is, or the node itself
  std::string mailbox;
  uint64_t mailbox_id = 0;  // there

  static Subject OfProcess(const ProcessId& id);
  static Subject OfMailbox(const std::string& node, const std::string& name, uint64_t id);
  static Subject OfNode(const std::string& node);

  // Equal for equal subjects.
  std::string Key() const;
  // `4711.3@alpha`, `orders@alpha`, `beta`.
  std::string Name() const;
};

// A process of this node wants to be told of an end.
struct Watch {
  uint64_t id = 0;
  uint32_t number = 0;  // of the process
  uint64_t watch = 0;   // its own id of it
  Subject subject;
  EndReason ended = EndReason::kNone;  // else it is to be told
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_WATCH_H_
