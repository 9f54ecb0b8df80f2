#ifndef MAILRAIL_CORE_PROCESS_PROCESS_ACCESS_H_
#define MAILRAIL_CORE_PROCESS_PROCESS_ACCESS_H_

#include <memory>

#include "mailrail/process.h"

namespace mailrail::internal {

// For what is made from a Process elsewhere than in this folder.
class ProcessAccess {
 public:
  static const std::shared_ptr<ProcessImpl>& Impl(const Process& process) { return process.impl_; }
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_PROCESS_ACCESS_H_
