#ifndef MAILRAIL_CORE_REGION_NAMED_MEMORY_H_
#define MAILRAIL_CORE_REGION_NAMED_MEMORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/process/process_impl.h"
#include "core/region/region_control.h"
#include "core/region/region_memory.h"
#include "core/region/versions.h"
#include "core/shm/memory.h"
#include "mailrail/process.h"
#include "proto/agent.pb.h"

namespace mailrail::internal {

// A region or value that a process has opened by its name: one open of it, which the agent knows
// by its own number. Thread-safe as Versions.
class NamedMemory {
 public:
  // Errors as of SharedRegion's and SharedValue's Create and Open.
  static absl::StatusOr<std::unique_ptr<NamedMemory>> Open(Process& process,
                                                           const control::OpenRegion& open,
                                                           absl::Time deadline);
  static absl::Status Destroy(Process& process, absl::string_view name,
                              proto::RegionSpec::Kind kind, absl::Time deadline);

  // Use Open.
  NamedMemory(std::shared_ptr<ProcessImpl> process, control::RegionGrant grant, bool writes)
      : process_(std::move(process)), grant_(std::move(grant)), writes_(writes) {}
  // Tells the agent.
  ~NamedMemory();

  absl::Status CheckUsable() const;
  const control::RegionGrant& grant() const { return grant_; }
  bool replica() const { return !grant_.home().empty(); }
  bool writes() const { return writes_; }
  // Of a region of this node; else it has no mapping.
  const RegionMemory& memory() const { return memory_; }
  // Null: it is too large to have any.
  Versions* versions() const { return versions_.get(); }

  // Whether this process is detached, as far as is known without a system call.
  bool detached() const { return process_->gone() || !process_->connection().connected(); }
  // OK, or why there will be no newer version.
  absl::Status Over(bool slept) const;
  // OK, or why this program may not publish, of a value as its writer.
  absl::Status CheckMayPublish() const;
  // After each publish: has the agent look, if it wants to.
  void Published() const;

 private:
  // Maps what was granted.
  absl::Status Map(std::vector<Fd> fds);
  const RegionControl& control() const {
    return *reinterpret_cast<const RegionControl*>(control_.data());
  }
  absl::string_view What() const {
    return grant_.spec().kind() == proto::RegionSpec::VALUE ? "value" : "region";
  }

  const std::shared_ptr<ProcessImpl> process_;
  const control::RegionGrant grant_;
  const bool writes_;
  Mapping control_;
  RegionMemory memory_;
  std::unique_ptr<Versions> versions_;
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_REGION_NAMED_MEMORY_H_
