#ifndef MAILRAIL_CORE_MAILBOX_ATTACHMENT_H_
#define MAILRAIL_CORE_MAILBOX_ATTACHMENT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "core/mailbox/control_page.h"

namespace mailrail {

class OutgoingLane;

// Whether the process that uses a lane is attached to its node. A process that is not would send
// to nobody, and what it claims would be claimed for nobody. Thread-safe.
class Attachment {
 public:
  virtual ~Attachment() = default;

  // Whether the agent has written that this process is gone, or that it stops itself: one load.
  bool ended() const { return page_ != nullptr && page_->closed.load() != 0; }
  // That it is gone: then what it claims is void. What is left when the agent stops may be
  // received.
  bool gone() const {
    return page_ != nullptr &&
           page_->closed.load() == static_cast<uint32_t>(CloseReason::kProcessGone);
  }

  // OK, or why this process is detached (kAborted): also when the agent was killed together with
  // its keeper, and so could write nothing. At most one system call.
  virtual absl::Status Check() const = 0;

  // Has the agent look after this lane to a mailbox of this node: something in it is the agent's,
  // delayed or condemned. Never waits; the agent may not be told.
  virtual void AskToLookAt(const OutgoingLane& lane) const = 0;

 protected:
  // `page` is the control page of the process's inbox, and outlives this.
  void set_page(const ControlPage* page) { page_ = page; }

 private:
  const ControlPage* page_ = nullptr;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_ATTACHMENT_H_
