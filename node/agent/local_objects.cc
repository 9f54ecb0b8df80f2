// What a process asks about named objects, of this node or another.
#include <utility>

#include "core/base/name.h"
#include "node/agent/local_service.h"
#include "node/directory/unknown_name.h"

namespace mailrail {

void LocalService::FindObject(const CallPtr& call, proto::ObjectKind kind,
                              const QualifiedName& name, bool only_connected,
                              std::function<void(absl::StatusOr<FoundObject>)> done) {
  const bool here = name.node == registry_->node();
  if (here || name.node.empty()) {
    if (const NamedObject* const object = registry_->FindObject(kind, name.name)) {
      return done(FoundObject{"", object->id});
    }
    if (here) return done(UnknownObject(kind, name.name, name.node));
  } else if (!directory_->HasNode(name.node)) {
    return done(UnknownNode(name.node));
  }
  directory_->FindObject(kind, name.name, name.node, only_connected, call->deadline,
                         std::move(done));
}

void LocalService::OpenObject(const CallPtr& call) {
  const control::OpenObject& open = call->request.open_object();
  const absl::StatusOr<QualifiedName> name = ParseQualifiedName("object", open.name());
  if (!name.ok()) return Respond(*call, name.status());
  if (!name->node.empty() && name->node != registry_->node()) {
    if (!directory_->HasNode(name->node)) return Respond(*call, UnknownNode(name->node));
    return OpenFarObject(call, *name, open.create());
  }
  if (!name->node.empty()) return OpenLocalObject(call, name->name);
  FindObject(call, open.spec().kind(), *name, /*only_connected=*/open.create(),
             [this, call, name = name->name](const absl::StatusOr<FoundObject>& found) {
               if (found.ok() && !found->node.empty()) {
                 return OpenFarObject(call, {name, found->node}, /*create=*/false);
               }
               if (found.ok() || absl::IsNotFound(found.status())) {
                 return OpenLocalObject(call, name);
               }
               Respond(*call, found.status());
             });
}

void LocalService::OpenLocalObject(const CallPtr& call, const std::string& name) {
  if (Caller(*call) == nullptr) return;
  control::Response response;
  absl::StatusOr<std::vector<Fd>> fds =
      objects_->Open(call->number, name, call->request.open_object(), response.mutable_object());
  if (!fds.ok()) return Respond(*call, fds.status());
  Respond(*call, std::move(response), *std::move(fds));
}

void LocalService::OpenFarObject(const CallPtr& call, const QualifiedName& name, bool create) {
  if (Caller(*call) == nullptr) return;
  far_objects_->Open(call->number, name.node, name.name, call->request.open_object().spec(), create,
                     call->deadline, [this, call](absl::StatusOr<control::ObjectGrant> grant) {
                       if (!grant.ok()) return Respond(*call, grant.status());
                       control::Response response;
                       *response.mutable_object() = *std::move(grant);
                       Respond(*call, std::move(response));
                     });
}

void LocalService::CloseObject(uint32_t number, const control::CloseObject& close) {
  if (objects_->Close(number, close.object_id(), close.open_id())) return;
  far_objects_->Close(number, close);
}

void LocalService::DestroyObject(const CallPtr& call) {
  const control::DestroyObject& destroy = call->request.destroy_object();
  const absl::StatusOr<QualifiedName> name = ParseQualifiedName("object", destroy.name());
  if (!name.ok()) return Respond(*call, name.status());
  FindObject(call, destroy.kind(), *name, /*only_connected=*/false,
             [this, call, kind = destroy.kind(),
              name = name->name](const absl::StatusOr<FoundObject>& found) {
               if (!found.ok()) return Respond(*call, found.status());
               if (found->node.empty()) {
                 return Respond(*call, objects_->Destroy(kind, name, found->id));
               }
               proto::Request request;
               proto::FindObject* const ask = request.mutable_destroy_object();
               ask->set_kind(kind);
               ask->set_name(name);
               ask->set_object_id(found->id);
               peers_->Call(found->node, std::move(request), call->deadline,
                            [this, call](const absl::StatusOr<proto::Reply>& reply) {
                              Respond(*call, reply.status());
                            });
             });
}

void LocalService::WaitForObject(const CallPtr& call) {
  const control::WaitForObject& wait = call->request.wait_for_object();
  const absl::Status status = objects_->Wait(*Caller(*call), wait);
  const Holder who = {call->number, wait.thread()};
  const absl::optional<proto::ThreadWait> known =
      status.ok() ? objects_->WaitOf(who) : absl::nullopt;
  if (!known.has_value() || wait.must()) return Respond(*call, status);
  // Perhaps by way of other nodes.
  deadlocks_->Search(who.number, who.thread,
                     [this, call, who, serial = known->serial()](const absl::Status& found) {
                       if (!found.ok()) objects_->Refuse(who, serial, found);
                       Respond(*call, found);
                     });
}

void LocalService::DoObjectOp(const CallPtr& call) {
  far_objects_->Do(call->number, call->request.object_op(), call->deadline,
                   [this, call](absl::StatusOr<proto::ObjectResult> result) {
                     if (!result.ok()) return Respond(*call, result.status());
                     control::Response response;
                     *response.mutable_object_result() = *std::move(result);
                     Respond(*call, std::move(response));
                   });
}

}  // namespace mailrail
