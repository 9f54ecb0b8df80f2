#include "node/agent/far_objects.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/process/grants.h"
#include "core/sync/sync_call.h"

namespace mailrail {
namespace {

// A home answers at the deadline of what waits; its answer is on its way for so much longer.
constexpr absl::Duration kOnTheWay = absl::Milliseconds(100);
// When a wait for a lock is looked at first, and then, as those for locks of this node are.
constexpr absl::Duration kSearchAfter = absl::Milliseconds(10);
constexpr absl::Duration kSearchAgain = absl::Seconds(1);
// Of holders of one process that give something back at one home.
constexpr std::ptrdiff_t kMostUnsettled = 4096;
// How long one request to give something back is waited for before it is made again.
constexpr absl::Duration kSettleAgain = absl::Hours(1);

absl::Status StatusOf(const proto::StatusInfo& info) {
  return absl::Status(static_cast<absl::StatusCode>(info.code()), info.message());
}

// It waits for a lock, which somebody holds.
bool IsLock(const proto::ObjectOp& op) {
  return (op.op() == proto::LOCK || op.op() == proto::LOCK_SHARED) && op.wait_ms() > 0;
}

absl::Status NotOpen() { return absl::NotFoundError("no such object is open"); }

}  // namespace

FarObjects::FarObjects(Options options, Loop* loop, Registry* registry, PeerCaller* peers)
    : options_(std::move(options)), loop_(loop), registry_(registry), peers_(peers) {}

void FarObjects::AskToOpen(uint32_t number, const std::string& node, const std::string& name,
                           const proto::ObjectSpec& spec, bool create, absl::Time deadline,
                           GrantCallback done) {
  const uint64_t epoch = HomeOf(node).epoch;
  const ProcessId process = registry_->owner_names()->NameOf(number);
  proto::Request request;
  request.set_epoch(epoch);
  proto::OpenFarObject* const open = request.mutable_open_object();
  internal::ToProto(process, open->mutable_process());
  open->set_name(name);
  *open->mutable_spec() = spec;
  open->set_create(create);
  const absl::Time asked = absl::Now();
  // Who asked goes on at the deadline; the answer is waited for, as what it opens is to be closed.
  const auto waiting = std::make_shared<GrantCallback>(std::move(done));
  const Loop::TimerId timer = loop_->RunAt(deadline + kOnTheWay, [waiting, node] {
    std::exchange(*waiting, nullptr)(
        absl::UnavailableError(absl::StrCat("node ", node, " was not reached until the deadline")),
        nullptr);
  });
  peers_->Call(node, std::move(request), asked + kSettleAgain,
               [=, this](const absl::StatusOr<proto::Reply>& reply) {
                 const GrantCallback answer = std::exchange(*waiting, nullptr);
                 loop_->Cancel(timer);
                 if (absl::IsAborted(reply.status()) && HomeOf(node).epoch == epoch) {
                   Lose(node, std::string(reply.status().message()));
                 }
                 if (HomeOf(node).epoch != epoch) {
                   if (answer == nullptr) return;
                   return AskToOpen(number, node, name, spec, create, deadline, answer);
                 }
                 if (!reply.ok()) {
                   if (answer != nullptr) answer(reply.status(), nullptr);
                   return;
                 }
                 const proto::FarObjectGrant& granted = reply->object();
                 const absl::StatusOr<FarObject*> object =
                     registry_->AddFarObject(node, granted.object_id(), name, granted.spec());
                 if (!object.ok()) {
                   if (answer != nullptr) answer(object.status(), nullptr);
                   return;
                 }
                 FarObject::User user = (*object)->users[number];
                 user.process = process;
                 user.home_open_id = granted.open_id();
                 user.epoch = epoch;
                 (*object)->users[number] = user;
                 absl::Status status = registry_->SetUser(*object, number, user);
                 if (status.ok() && registry_->FindProcess(number) == nullptr) status = NotOpen();
                 if (!status.ok() || answer == nullptr) {
                   // One that this process has opened before stays so.
                   if (!status.ok() || user.open_id == 0) CloseUser(*object, number);
                   if (answer != nullptr) answer(status, nullptr);
                   return;
                 }
                 Renewed(node, asked, /*at_once=*/true, reply->lease_ms());
                 answer(granted, *object);
               });
}

void FarObjects::Open(uint32_t number, const std::string& node, const std::string& name,
                      const proto::ObjectSpec& spec, bool create, absl::Time deadline,
                      OpenCallback done) {
  AskToOpen(number, node, name, spec, create, deadline,
            [this, number, done = std::move(done)](
                const absl::StatusOr<proto::FarObjectGrant>& granted, FarObject* object) {
              if (!granted.ok()) return done(granted.status());
              FarObject::User user = object->users.at(number);
              user.open_id = registry_->NewId();
              if (absl::Status status = registry_->SetUser(object, number, user); !status.ok()) {
                return done(status);
              }
              control::ObjectGrant grant;
              grant.set_object_id(object->id);
              grant.set_open_id(user.open_id);
              *grant.mutable_spec() = object->spec;
              grant.set_name(QualifiedName{object->name, object->node}.ToString());
              grant.set_created(granted->created());
              grant.set_home(object->node);
              done(std::move(grant));
            });
}

void FarObjects::Close(uint32_t number, const control::CloseObject& close) {
  FarObject* const object = registry_->FindFarObject(close.object_id());
  if (object == nullptr) return;
  const auto user = object->users.find(number);
  if (user == object->users.end() || user->second.open_id > close.open_id()) return;
  CloseUser(object, number);
}

void FarObjects::CloseUser(FarObject* object, uint32_t number) {
  Settling settling;
  settling.node = object->node;
  const FarObject::User& user = object->users.at(number);
  internal::ToProto(user.process, settling.close.mutable_process());
  settling.close.set_object_id(object->object_id);
  settling.close.set_open_id(user.home_open_id);
  // First: an agent that dies in between asks the home twice.
  AddSettling(std::move(settling));
  registry_->RemoveUser(object, number);
}

void FarObjects::Do(uint32_t number, const proto::ObjectOp& op, absl::Time deadline,
                    OpCallback done) {
  const FarObject* const object = registry_->FindFarObject(op.object_id());
  if (object == nullptr || !object->users.contains(number)) return done(NotOpen());
  const uint64_t serial = ++last_serial_;
  calls_[serial] = {number, object->node, op, deadline, absl::InfinitePast(), std::move(done)};
  Home& home = HomeOf(object->node);
  const Holding holding = {number, op.holder()};
  const bool holds = SyncCall::Undo(static_cast<SyncOp>(op.op())) != SyncOp::kNone;
  if (holds && home.unsettled.contains(holding)) {
    home.held_back[holding].push_back(serial);
    loop_->RunAt(deadline, [this, serial] {
      const auto call = calls_.find(serial);
      if (call == calls_.end() || call->second.asked != absl::InfinitePast()) return;
      Finish(serial, absl::UnavailableError(absl::StrCat("node ", call->second.node,
                                                         " was not reached until the deadline")));
    });
    return;
  }
  Send(serial);
}

void FarObjects::Send(uint64_t serial) {
  const auto found = calls_.find(serial);
  if (found == calls_.end()) return;
  Call& call = found->second;
  call.asked = absl::Now();
  const FarObject* const object = registry_->FindFarObject(call.op.object_id());
  if (object == nullptr || !object->users.contains(call.number)) return Finish(serial, NotOpen());
  const Home& home = HomeOf(call.node);
  if (object->users.at(call.number).epoch != home.epoch) return Reopen(serial);
  proto::Request request;
  request.set_epoch(home.epoch);
  internal::ToProto(object->users.at(call.number).process,
                    request.mutable_object_op()->mutable_process());
  *request.mutable_object_op()->mutable_op() = call.op;
  request.mutable_object_op()->mutable_op()->set_object_id(object->object_id);
  peers_->Call(call.node, std::move(request), call.deadline + kOnTheWay,
               [this, serial, call, epoch = home.epoch](const absl::StatusOr<proto::Reply>& reply) {
                 if (!calls_.contains(serial)) return OnLateAnswer(call, epoch, reply);
                 OnAnswer(serial, epoch, reply);
               });
  LookForDeadlock(serial, kSearchAfter);
}

void FarObjects::LookForDeadlock(uint64_t serial, absl::Duration after) {
  const auto found = calls_.find(serial);
  if (found == calls_.end() || !IsLock(found->second.op) || found->second.op.must()) return;
  loop_->RunAfter(after, [this, serial] {
    const auto call = calls_.find(serial);
    if (call == calls_.end()) return;
    LookForDeadlock(serial, kSearchAgain);
    options_.search(call->second.number, call->second.op.holder(),
                    [this, serial](const absl::Status& status) {
                      const auto refused = calls_.find(serial);
                      if (status.ok() || refused == calls_.end()) return;
                      Undo(refused->second);
                      Finish(serial, status);
                    });
  });
}

absl::optional<proto::ThreadWait> FarObjects::WaitOf(uint32_t number, uint32_t thread) const {
  for (const auto& [serial, call] : calls_) {
    if (call.number != number || call.op.holder() != thread || !IsLock(call.op)) continue;
    if (call.asked == absl::InfinitePast()) return absl::nullopt;  // it is held back
    const FarObject* const object = registry_->FindFarObject(call.op.object_id());
    if (object == nullptr) return absl::nullopt;
    proto::ThreadWait wait;
    wait.set_home(object->node);
    wait.set_object_id(object->object_id);
    wait.set_kind(object->spec.kind());
    wait.set_name(object->name);
    wait.set_shared(call.op.op() == proto::LOCK_SHARED);
    wait.set_must(call.op.must());
    wait.set_serial(static_cast<uint64_t>(absl::ToUnixNanos(call.asked)));
    return wait;
  }
  return absl::nullopt;
}

void FarObjects::Reopen(uint64_t serial) {
  const Call& call = calls_.at(serial);
  const FarObject* const object = registry_->FindFarObject(call.op.object_id());
  proto::ObjectSpec spec;
  spec.set_kind(object->spec.kind());
  AskToOpen(
      call.number, call.node, object->name, spec, /*create=*/false, call.deadline,
      [this, serial](const absl::StatusOr<proto::FarObjectGrant>& granted, FarObject* opened) {
        const auto found = calls_.find(serial);
        if (found == calls_.end()) return;
        // Another one of this name is not the one that this process has opened.
        if (granted.ok() ? opened->id != found->second.op.object_id()
                         : absl::IsNotFound(granted.status())) {
          // Perhaps this process has opened that, too.
          if (granted.ok() && opened->users.at(found->second.number).open_id == 0) {
            CloseUser(opened, found->second.number);
          }
          return Finish(serial, absl::NotFoundError("it was destroyed"));
        }
        if (!granted.ok()) return Finish(serial, granted.status());
        Send(serial);
      });
}

void FarObjects::OnLateAnswer(const Call& call, uint64_t epoch,
                              const absl::StatusOr<proto::Reply>& reply) {
  if (reply.ok() && reply->object_result().had() && HomeOf(call.node).epoch == epoch) Undo(call);
}

void FarObjects::OnAnswer(uint64_t serial, uint64_t epoch,
                          const absl::StatusOr<proto::Reply>& reply) {
  const auto found = calls_.find(serial);
  // Of an epoch that is over nothing is held any more.
  if (found == calls_.end() || HomeOf(found->second.node).epoch != epoch) return;
  const Call& call = found->second;
  if (absl::IsAborted(reply.status()))
    return Lose(call.node, std::string(reply.status().message()));
  if (!reply.ok()) {
    // Perhaps it was done.
    Undo(call);
    return Finish(serial, reply.status());
  }
  Renewed(call.node, call.asked, call.op.wait_ms() == 0, reply->lease_ms());
  const proto::ObjectResult& result = reply->object_result();
  const absl::Status status = StatusOf(result.status());
  if (!status.ok()) return Finish(serial, status);
  Finish(serial, result);
}

void FarObjects::Finish(uint64_t serial, absl::StatusOr<proto::ObjectResult> result) {
  const auto found = calls_.find(serial);
  if (found == calls_.end()) return;
  const OpCallback done = std::move(found->second.done);
  calls_.erase(found);
  done(std::move(result));
}

void FarObjects::Undo(const Call& call) {
  const SyncOp undo = SyncCall::Undo(static_cast<SyncOp>(call.op.op()));
  if (undo == SyncOp::kNone) return;
  proto::ObjectOp op = call.op;
  op.set_op(static_cast<proto::SyncOp>(undo));
  op.set_ticket(call.op.ticket() + 1);
  Settle(call.number, op);
}

void FarObjects::Settle(uint32_t number, const proto::ObjectOp& op) {
  const auto gives_back = static_cast<SyncOp>(op.op());
  if (SyncCall::Undo(gives_back) != gives_back || gives_back == SyncOp::kNone) return;
  const FarObject* const object = registry_->FindFarObject(op.object_id());
  if (object == nullptr || !object->users.contains(number) || op.holder() > Holder::kLargest) {
    return;
  }
  const Home& home = HomeOf(object->node);
  const Holding holding = {number, op.holder()};
  if (const auto known = home.unsettled.find(holding); known != home.unsettled.end()) {
    for (const uint64_t id : known->second) {
      const proto::ObjectOp& asked = registry_->settlings().at(id).op.op();
      if (asked.object_id() == object->object_id && asked.op() == op.op()) return;
    }
  } else if (std::distance(home.unsettled.lower_bound({number, 0}),
                           home.unsettled.lower_bound({number + 1, 0})) >= kMostUnsettled) {
    return options_.log("a process gives back more than can be kept for it");
  }
  // What was opened in another epoch holds nothing in this one.
  if (object->users.at(number).epoch != HomeOf(object->node).epoch) return;
  Settling settling;
  settling.node = object->node;
  internal::ToProto(object->users.at(number).process, settling.op.mutable_process());
  *settling.op.mutable_op() = op;
  settling.op.mutable_op()->set_object_id(object->object_id);
  settling.op.mutable_op()->set_wait_ms(0);
  AddSettling(std::move(settling));
}

void FarObjects::AddSettling(Settling settling) {
  const absl::StatusOr<const Settling*> added = registry_->AddSettling(std::move(settling));
  if (!added.ok()) {
    options_.log(absl::StrCat("what a process gives back may stay held at node ", settling.node,
                              " until this one has not renewed: ", added.status().message()));
    return;
  }
  Ask(**added);
}

void FarObjects::Ask(const Settling& settling) {
  Home& home = HomeOf(settling.node);
  proto::Request request;
  request.set_epoch(home.epoch);
  if (settling.op.has_op()) {
    *request.mutable_object_op() = settling.op;
    const LocalProcess* const process =
        registry_->FindProcess(internal::FromProto(settling.op.process()));
    if (process != nullptr) {
      home.unsettled[{process->number, settling.op.op().holder()}].insert(settling.id);
    }
  } else {
    *request.mutable_close_object() = settling.close;
  }
  peers_->Call(settling.node, std::move(request), absl::Now() + kSettleAgain,
               [this, id = settling.id](const absl::StatusOr<proto::Reply>& reply) {
                 if (!registry_->settlings().contains(id)) return;
                 // Aborted: it is of an epoch that is over.
                 if (reply.ok() || absl::IsAborted(reply.status())) return Settled(id);
                 loop_->RunAfter(absl::Seconds(1), [this, id] {
                   const auto kept = registry_->settlings().find(id);
                   if (kept != registry_->settlings().end()) Ask(kept->second);
                 });
               });
}

void FarObjects::Settled(uint64_t id) {
  Home& home = HomeOf(registry_->settlings().at(id).node);
  registry_->RemoveSettling(id);
  std::vector<uint64_t> serials;
  for (auto holding = home.unsettled.begin(); holding != home.unsettled.end();) {
    if (holding->second.erase(id) == 0 || !holding->second.empty()) {
      ++holding;
      continue;
    }
    if (const auto calls = home.held_back.find(holding->first); calls != home.held_back.end()) {
      serials.insert(serials.end(), calls->second.begin(), calls->second.end());
      home.held_back.erase(calls);
    }
    holding = home.unsettled.erase(holding);
  }
  for (const uint64_t serial : serials) Send(serial);
}

void FarObjects::OnProcessGone(uint32_t number) {
  std::vector<uint64_t> used;
  for (const auto& [id, object] : registry_->far_objects()) {
    if (object.users.contains(number)) used.push_back(id);
  }
  for (const uint64_t id : used) CloseUser(registry_->FindFarObject(id), number);
  std::erase_if(calls_, [number](const auto& entry) { return entry.second.number == number; });
}

void FarObjects::Resume() {
  std::set<uint32_t> gone;
  std::set<std::string> nodes;
  for (const auto& [id, object] : registry_->far_objects()) {
    nodes.insert(object.node);
    for (const auto& [number, user] : object.users) {
      if (registry_->FindProcess(number) == nullptr) gone.insert(number);
    }
  }
  std::vector<uint64_t> settlings;
  for (const auto& [id, settling] : registry_->settlings()) settlings.push_back(id);
  for (const uint64_t id : settlings) Ask(registry_->settlings().at(id));
  for (const uint32_t number : gone) OnProcessGone(number);
  for (const std::string& node : nodes) {
    // As far as the agent before this one has come.
    ExpectEnd(node);
    Renew(node);
  }
}

}  // namespace mailrail
