#include "core/objects/sync_object.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/fork.h"
#include "core/base/name.h"
#include "core/process/process_access.h"

namespace mailrail::internal {
namespace {

void Tell(const ProcessImpl& process, const ObjectTable::Closed& closed) {
  for (const control::CloseObject& close : closed) {
    control::Request request;
    *request.mutable_close_object() = close;
    process.connection().Tell(request);
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<SyncObject>> SyncObject::Open(Process& process,
                                                             absl::string_view name,
                                                             const SyncSpec& spec,
                                                             const OpenOptions& options,
                                                             absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("object", name).status(); !status.ok()) {
    return status;
  }
  const std::shared_ptr<ProcessImpl>& impl = ProcessAccess::Impl(process);
  control::Request request;
  control::OpenObject* const open = request.mutable_open_object();
  open->set_name(std::string(name));
  open->set_create(options.create);
  open->mutable_spec()->set_kind(static_cast<proto::ObjectKind>(spec.kind));
  open->mutable_spec()->set_limit(spec.limit);
  open->mutable_spec()->set_initial(spec.initial);
  open->mutable_spec()->set_transient(options.transient);
  impl->objects().BeginOpening();
  const absl::Cleanup end = [&impl] { Tell(*impl, impl->objects().EndOpening()); };
  absl::StatusOr<AgentReply> reply = impl->Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  const control::ObjectGrant& grant = reply->response.object();
  absl::StatusOr<std::shared_ptr<OpenedObject>> object =
      impl->objects().Add(grant, [&]() -> absl::StatusOr<std::shared_ptr<OpenedObject>> {
        if (!grant.home().empty()) return std::make_shared<SyncObject>(impl, grant, Mapping());
        if (reply->fds.size() != 1) return absl::DataLossError("the agent granted no memory");
        const SyncSpec granted = {spec.kind, grant.spec().limit(), grant.spec().initial()};
        if (absl::Status status = AnySync::CheckSpec(granted); !status.ok()) {
          return absl::DataLossError(status.message());
        }
        absl::StatusOr<Mapping> map =
            Mapping::Map(reply->fds[0], AnySync::BytesFor(granted), Access::kReadWrite);
        if (!map.ok()) return map.status();
        if (absl::Status status = AnySync::Check(map->data(), map->size(), granted); !status.ok()) {
          return status;
        }
        return std::make_shared<SyncObject>(impl, grant, *std::move(map));
      });
  if (!object.ok()) return object.status();
  return std::static_pointer_cast<SyncObject>(*std::move(object));
}

absl::Status SyncObject::Destroy(Process& process, absl::string_view name, SyncKind kind,
                                 absl::Time deadline) {
  if (absl::Status status = ParseQualifiedName("object", name).status(); !status.ok()) {
    return status;
  }
  control::Request request;
  request.mutable_destroy_object()->set_name(std::string(name));
  request.mutable_destroy_object()->set_kind(static_cast<proto::ObjectKind>(kind));
  return ProcessAccess::Impl(process)->Call(std::move(request), deadline).status();
}

SyncObject::~SyncObject() {
  if (!CheckUsable().ok()) return;
  Tell(*process_, process_->objects().Remove(id_, *this));
}

void SyncObject::SetCell(uint32_t thread, uint32_t cell) {
  absl::MutexLock lock(&mutex_);
  cells_[thread] = cell;
}

bool SyncObject::TakeCell(uint32_t thread, uint32_t* cell) {
  absl::MutexLock lock(&mutex_);
  const auto found = cells_.find(thread);
  if (found == cells_.end()) return false;
  *cell = found->second;
  cells_.erase(found);
  return true;
}

absl::Status SyncObject::WhyLost() const {
  if (absl::Status status = process_->Check(); !status.ok()) return status;
  return absl::FailedPreconditionError(absl::StrCat("this thread does not have '", name_, "'"));
}

absl::Status SyncObject::Destroyed() const {
  return absl::UnavailableError(absl::StrCat("'", name_, "' was destroyed"));
}

}  // namespace mailrail::internal
