#include "core/region/named_memory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/process/process_access.h"

namespace mailrail::internal {

absl::StatusOr<std::unique_ptr<NamedMemory>> NamedMemory::Open(Process& process,
                                                               const control::OpenRegion& open,
                                                               absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("region", open.name()).status(); !status.ok()) {
    return status;
  }
  const std::shared_ptr<ProcessImpl>& impl = ProcessAccess::Impl(process);
  control::Request request;
  *request.mutable_open_region() = open;
  absl::StatusOr<AgentReply> reply = impl->Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  // From here on its end tells the agent.
  auto named = std::make_unique<NamedMemory>(impl, std::move(*reply->response.mutable_region()),
                                             open.writes());
  if (absl::Status status = named->Map(std::move(reply->fds)); !status.ok()) return status;
  return named;
}

absl::Status NamedMemory::Destroy(Process& process, absl::string_view name,
                                  proto::RegionSpec::Kind kind, absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("region", name).status(); !status.ok()) {
    return status;
  }
  control::Request request;
  request.mutable_destroy_region()->set_name(std::string(name));
  request.mutable_destroy_region()->set_kind(kind);
  return ProcessAccess::Impl(process)->Call(std::move(request), deadline).status();
}

absl::Status NamedMemory::Map(std::vector<Fd> fds) {
  const proto::RegionSpec& spec = grant_.spec();
  const bool has_memory = spec.kind() == proto::RegionSpec::REGION && !replica();
  const bool has_versions = HasVersions(spec.bytes());
  if (fds.size() != 2u + has_versions + has_memory) {
    return absl::DataLossError(absl::StrCat("the agent granted no memory of this ", What()));
  }
  absl::StatusOr<Mapping> control = Mapping::Map(fds[0], sizeof(RegionControl), Access::kReadOnly);
  if (!control.ok()) return control.status();
  control_ = *std::move(control);
  if (this->control().magic != kRegionControlMagic) {
    return absl::DataLossError(absl::StrCat("the memory of this ", What(), " is not well-formed"));
  }
  if (has_versions) {
    const SnapshotGeometry expected = RegionGeometry(spec.bytes(), spec.schema(), replica());
    absl::StatusOr<Mapping> bell = Mapping::Map(fds[1], sizeof(SnapshotBell), Access::kReadWrite);
    if (!bell.ok()) return bell.status();
    absl::StatusOr<Mapping> data = Mapping::Map(fds[2], expected.data_bytes(),
                                                writes_ ? Access::kReadWrite : Access::kReadOnly);
    if (!data.ok()) return data.status();
    SnapshotGeometry geometry;
    if (absl::Status status = CheckSnapshot(data->data(), data->size(), expected.value_bytes,
                                            expected.schema, &geometry);
        !status.ok()) {
      return status;
    }
    const bool writes_value = writes_ && spec.kind() == proto::RegionSpec::VALUE;
    if (absl::Status status =
            writes_value ? ProvideMemory(data->data(), data->size()) : absl::OkStatus();
        !status.ok()) {
      return status;
    }
    versions_ =
        std::make_unique<Versions>(geometry, *std::move(data), *std::move(bell),
                                   replica() ? Versions::Numbered::kYes : Versions::Numbered::kNo);
  }
  if (!has_memory) return absl::OkStatus();
  absl::StatusOr<RegionMemory> memory = RegionOfDescriptor(fds.back().get());
  if (!memory.ok()) return memory.status();
  if (memory->bytes != spec.bytes() || (memory->access == RegionAccess::kReadWrite) != writes_) {
    return absl::DataLossError("the agent granted other memory than it says");
  }
  memory_ = *std::move(memory);
  return absl::OkStatus();
}

NamedMemory::~NamedMemory() {
  if (!CheckUsable().ok()) return;
  control::Request request;
  request.mutable_close_region()->set_region_id(grant_.region_id());
  request.mutable_close_region()->set_open_id(grant_.open_id());
  process_->connection().Tell(request);
}

absl::Status NamedMemory::CheckUsable() const {
  if (process_->CheckUsable().ok()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "this ", What(), " belongs to the program that forked; open it by its name in the child"));
}

absl::Status NamedMemory::Over(bool slept) const {
  // After its last version. Partner: the agent, which stores it when nobody may publish any more.
  if (control().destroyed.load(std::memory_order_acquire) != 0) {
    return absl::UnavailableError(absl::StrCat("'", grant_.name(), "' was destroyed"));
  }
  return slept ? process_->Check() : absl::OkStatus();
}

absl::Status NamedMemory::CheckMayPublish() const {
  if (replica()) {
    return absl::PermissionDeniedError(absl::StrCat("this is a replica of '", grant_.name(),
                                                    "', which is written on node ", grant_.home()));
  }
  if (!writes_) {
    return absl::PermissionDeniedError(absl::StrCat("this ", What(), " was opened for reading"));
  }
  if (absl::Status status = Over(/*slept=*/false); !status.ok()) return status;
  if (grant_.spec().kind() == proto::RegionSpec::VALUE &&
      control().writer.load(std::memory_order_relaxed) != grant_.open_id()) {
    return absl::AbortedError(absl::StrCat("this process is not the writer of '", grant_.name(),
                                           "' any more: the agent has given it up"));
  }
  return absl::OkStatus();
}

void NamedMemory::Published() const {
  if (control().tell.load(std::memory_order_relaxed) == 0) return;
  control::Request request;
  request.set_region_published(grant_.region_id());
  process_->connection().Tell(request);
}

}  // namespace mailrail::internal
