#include "node/agent/object_host.h"

#include <algorithm>
#include <limits>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/process/grants.h"
#include "node/agent/limits.h"

namespace mailrail {
namespace {

// Answers that are kept of one holder of an object: it asks again only after its last.
constexpr size_t kMostAnswered = 65536;

constexpr absl::Duration kTryAgain = absl::Milliseconds(250);

absl::Status NotOpen() { return absl::AbortedError("this process does not have it open"); }

void SetStatus(const absl::Status& status, proto::StatusInfo* info) {
  info->set_code(static_cast<int>(status.code()));
  info->set_message(std::string(status.message()));
}

proto::Reply InProto(const absl::StatusOr<SyncCall::Result>& result) {
  proto::Reply reply;
  proto::ObjectResult* const in = reply.mutable_object_result();
  if (result.ok()) {
    in->set_had(true);
    in->set_fence(result->fence);
    in->set_owner_died(result->owner_died);
    in->set_place(result->place);
    in->set_generation(result->generation);
    in->set_value(result->value);
  } else if (!absl::IsDeadlineExceeded(result.status())) {
    SetStatus(result.status(), in->mutable_status());
  }
  return reply;
}

SyncKind KindOf(const NamedObject& object) { return static_cast<SyncKind>(object.spec.kind()); }

}  // namespace

// A call that waits. The watcher's threads look at its word, and have the loop try it again.
class ObjectHost::Waiter : public internal::Watched {
 public:
  Waiter(uint64_t its_serial, const Key& its_key, const SyncCall& its_call,
         std::function<void()> woken)
      : serial(its_serial), key(its_key), call(its_call), woken_(std::move(woken)) {}

  bool SignalOrPark(FutexWord* word, absl::Duration*) override {
    absl::MutexLock lock(&mutex_);
    if (!sleeps_) return true;
    // Now and then it is tried all the same: who was to wake it may be stopped.
    if (word_.word->load() == word_.expected && absl::Now() - since_ < kTryAgain) {
      *word = word_;
      return false;
    }
    sleeps_ = false;
    woken_();
    return true;
  }

  void Sleep(const FutexWord& word) {
    absl::MutexLock lock(&mutex_);
    sleeps_ = true;
    since_ = absl::Now();
    word_ = word;
  }

  const uint64_t serial;
  const Key key;
  SyncCall call;
  std::string node;
  uint64_t request = 0;
  uint64_t ticket = 0;
  Loop::TimerId timer = 0;
  bool has_slept = false;

 private:
  const std::function<void()> woken_;
  absl::Mutex mutex_;
  bool sleeps_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time since_ ABSL_GUARDED_BY(mutex_);
  FutexWord word_ ABSL_GUARDED_BY(mutex_) = {};
};

ObjectHost::ObjectHost(Options options, Loop* loop, Registry* registry, Objects* objects)
    : options_(std::move(options)),
      loop_(loop),
      registry_(registry),
      objects_(objects),
      life_(absl::Uniform<uint32_t>(absl::IntervalClosed, absl::BitGen(), 1, ~0u)),
      watcher_([] {}) {
  objects_->set_far({.on_removed = [this](uint64_t object) { OnObjectRemoved(object); },
                     .waiters = [this](uint64_t object) { return WaitersOf(object); }});
}

ObjectHost::~ObjectHost() {
  for (const auto& [key, waiter] : waiters_) watcher_.Remove(waiter.get());
}

absl::Status ObjectHost::CheckEpoch(const std::string& node, uint64_t epoch) {
  Peer& peer = peers_[node];
  if (epoch < peer.epoch) {
    return absl::AbortedError("what processes of this node held there is free for others by now");
  }
  if (epoch > peer.epoch && peer.epoch != 0) TakeAll(node);
  peer.epoch = epoch;
  return absl::OkStatus();
}

void ObjectHost::Renew(const std::string& node) {
  Peer& peer = peers_[node];
  peer.lease_ends = absl::Now() + options_.lease;
  if (peer.timer != 0) return;
  peer.timer = loop_->RunAt(peer.lease_ends, [this, node] { OnLeaseTime(node); });
}

void ObjectHost::OnLeaseTime(const std::string& node) {
  Peer& peer = peers_[node];
  peer.timer = 0;
  if (absl::Now() < peer.lease_ends) {
    peer.timer = loop_->RunAt(peer.lease_ends, [this, node] { OnLeaseTime(node); });
    return;
  }
  // What comes yet of this epoch is of processes that are to hear that it is over.
  if (TakeAll(node)) ++peer.epoch;
}

bool ObjectHost::TakeAll(const std::string& node) {
  std::vector<uint32_t> numbers;
  for (const auto& [number, user] : registry_->far_users()) {
    if (user.process.node() == node) numbers.push_back(number);
  }
  if (numbers.empty()) return false;
  options_.log(absl::StrCat("objects of this node that ", numbers.size(), " processes of node ",
                            node, " had open are free of them"));
  for (const uint32_t number : numbers) {
    Forget(std::numeric_limits<uint64_t>::max(), number);
    objects_->OnProcessGone(number);
    registry_->RemoveFarUser(number);
  }
  return true;
}

void ObjectHost::OnNodeAnew(const std::string& node) {
  TakeAll(node);
  peers_[node].epoch = 0;
}

void ObjectHost::Resume() {
  for (const auto& [number, user] : registry_->far_users()) {
    Peer& peer = peers_[user.process.node()];
    peer.epoch = std::max(peer.epoch, user.epoch);
  }
  for (const auto& [node, peer] : peers_) Renew(node);
}

void ObjectHost::OnRequest(const std::string& node, const proto::Request& request) {
  absl::Status status = CheckEpoch(node, request.epoch());
  if (!status.ok()) return Reply(node, request.id(), status);
  Renew(node);
  proto::Reply reply;
  switch (request.call_case()) {
    case proto::Request::kOpenObject:
      status = Open(node, request.epoch(), request.open_object(), reply.mutable_object());
      break;
    case proto::Request::kCloseObject:
      Close(node, request.close_object());
      break;
    case proto::Request::kObjectOp:
      return Do(node, request.id(), request.object_op());
    default:
      break;  // to renew
  }
  Reply(node, request.id(), status, std::move(reply));
}

void ObjectHost::Reply(const std::string& node, uint64_t id, const absl::Status& status,
                       proto::Reply reply) {
  SetStatus(status, reply.mutable_status());
  reply.set_lease_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(options_.lease)));
  options_.answer(node, id, reply);
}

absl::Status ObjectHost::Open(const std::string& node, uint64_t epoch,
                              const proto::OpenFarObject& open, proto::FarObjectGrant* grant) {
  // First: names of nodes are kept for good, and this may be any.
  if (open.process().node() != node || open.process().pid() == 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("node ", node, " may not open objects for processes of another node"));
  }
  if (absl::Status status = CheckName("object", open.name()); !status.ok()) return status;
  const ProcessId process = internal::FromProto(open.process());
  const absl::StatusOr<FarUser*> user = registry_->AddFarUser(process, epoch);
  if (!user.ok()) return user.status();
  const absl::StatusOr<Objects::Opened> opened =
      objects_->Open((*user)->number, open.name(), open.spec(), open.create());
  if (!opened.ok()) {
    if (!objects_->Uses((*user)->number)) registry_->RemoveFarUser((*user)->number);
    return opened.status();
  }
  grant->set_object_id(opened->object->id);
  grant->set_open_id(opened->open_id);
  grant->set_created(opened->created);
  *grant->mutable_spec() = opened->object->spec;
  return absl::OkStatus();
}

const FarUser* ObjectHost::FindUser(const std::string& node, const proto::ProcessRef& process) {
  if (process.node() != node) return nullptr;
  return registry_->FindFarUser(internal::FromProto(process));
}

void ObjectHost::Close(const std::string& node, const proto::CloseFarObject& close) {
  const FarUser* const user = FindUser(node, close.process());
  if (user == nullptr) return;
  const uint32_t number = user->number;
  if (!objects_->Close(number, close.object_id(), close.open_id())) return;
  Forget(close.object_id(), number);
  if (!objects_->Uses(number)) registry_->RemoveFarUser(number);
}

void ObjectHost::Do(const std::string& node, uint64_t id, const proto::FarObjectOp& request) {
  const proto::ObjectOp& op = request.op();
  const FarUser* const user = FindUser(node, request.process());
  NamedObject* const object = registry_->FindObject(op.object_id());
  const auto refuse = [&](const absl::Status& status) {
    proto::Reply reply;
    SetStatus(status, reply.mutable_object_result()->mutable_status());
    Reply(node, id, absl::OkStatus(), std::move(reply));
  };
  if (object == nullptr) return refuse(absl::NotFoundError("it was destroyed"));
  if (user == nullptr || !object->users.contains(user->number)) {
    return refuse(NotOpen());
  }
  const auto sync_op = static_cast<SyncOp>(op.op());
  if (!SyncCall::Fits(KindOf(*object), sync_op) || op.holder() > Holder::kLargest) {
    return refuse(absl::InvalidArgumentError("it has no such call"));
  }
  SyncCall call(object->map.data(), object->map.size(), KindOf(*object), sync_op,
                {user->number, op.holder()}, op.place(), op.generation());
  // What gets nothing is done again if it is asked again.
  if (SyncCall::Undo(sync_op) == SyncOp::kNone) {
    absl::StatusOr<SyncCall::Result> result = call.Try(/*has_slept=*/false);
    if (result.ok()) result->generation = life_;
    return Reply(node, id, absl::OkStatus(), InProto(result));
  }
  const Key key = {object->id, user->number, op.holder()};
  if (const auto waiter = waiters_.find(key); waiter != waiters_.end()) {
    if (op.ticket() == waiter->second->ticket) {
      waiter->second->request = id;
      return;
    }
    if (op.ticket() < waiter->second->ticket) return refuse(NotOpen());
    const uint64_t given_up = waiter->second->request;
    Drop(waiter);
    // So that it is not asked again.
    Reply(node, given_up, absl::OkStatus(), InProto(absl::AbortedError("it was given up")));
  }
  if (const auto answered = answered_.find(key); answered != answered_.end()) {
    if (op.ticket() == answered->second.ticket) {
      return Reply(node, id, absl::OkStatus(), answered->second.reply);
    }
    if (op.ticket() < answered->second.ticket) return refuse(NotOpen());
  }
  if (sync_op == SyncOp::kArrive && op.generation() != life_) {
    SyncCall leave(object->map.data(), object->map.size(), SyncKind::kBarrier, SyncOp::kLeave,
                   {user->number, op.holder()}, op.place(), op.generation());
    leave.Try(/*has_slept=*/false).IgnoreError();
    return refuse(absl::AbortedError(
        "the home's agent was started again: whether this thread has come is not known"));
  }
  absl::StatusOr<SyncCall::Result> result = call.Try(/*has_slept=*/false);
  Peer& peer = peers_[node];
  const bool waits = absl::IsDeadlineExceeded(result.status()) && op.wait_ms() > 0;
  if (!waits || peer.waits >= kMaxFarWaits) {
    if (!result.ok()) call.GiveUp(/*has_slept=*/false);
    if (waits) result = absl::ResourceExhaustedError("too much of this node waits there already");
    return Finish(key, node, id, op.ticket(), result);
  }
  ++peer.waits;
  const uint64_t serial = ++last_serial_;
  auto made = std::make_unique<Waiter>(
      serial, key, call, [this, serial] { loop_->Post([this, serial] { OnWoken(serial); }); });
  Waiter* const waiter = made.get();
  waiter->node = node;
  waiter->request = id;
  waiter->ticket = op.ticket();
  waiter->timer = loop_->RunAfter(
      absl::Milliseconds(static_cast<int64_t>(std::min<uint64_t>(op.wait_ms(), 3600000))),
      [this, serial] { OnTime(serial); });
  by_serial_[serial] = waiter;
  waiters_[key] = std::move(made);
  waiter->Sleep(waiter->call.Park());
  watcher_.Add(waiter);
  Try(waiter);
}

void ObjectHost::Finish(const Key& key, const std::string& node, uint64_t id, uint64_t ticket,
                        const absl::StatusOr<SyncCall::Result>& result) {
  Answered& answered = answered_[key];
  answered = {ticket, InProto(result)};
  Reply(node, id, absl::OkStatus(), answered.reply);
  // One that asks again after so many others is answered by what its holder has.
  if (answered_.size() > kMostAnswered) answered_.erase(answered_.begin());
}

void ObjectHost::Try(Waiter* waiter) {
  const FutexWord word = waiter->call.Park();
  const absl::StatusOr<SyncCall::Result> result = waiter->call.Try(waiter->has_slept);
  if (absl::IsDeadlineExceeded(result.status())) {
    waiter->Sleep(word);
    watcher_.Wake();
    return;
  }
  if (!result.ok()) waiter->call.GiveUp(waiter->has_slept);
  End(waiters_.find(waiter->key), result);
}

void ObjectHost::End(Waiters::iterator waiter, const absl::StatusOr<SyncCall::Result>& result) {
  const std::unique_ptr<Waiter> ended = Take(waiter);
  Finish(ended->key, ended->node, ended->request, ended->ticket, result);
}

std::unique_ptr<ObjectHost::Waiter> ObjectHost::Take(Waiters::iterator waiter) {
  std::unique_ptr<Waiter> taken = std::move(waiter->second);
  watcher_.Remove(taken.get());
  loop_->Cancel(taken->timer);
  by_serial_.erase(taken->serial);
  --peers_[taken->node].waits;
  waiters_.erase(waiter);
  return taken;
}

void ObjectHost::OnWoken(uint64_t serial) {
  const auto waiter = by_serial_.find(serial);
  if (waiter == by_serial_.end()) return;
  waiter->second->has_slept = true;
  Try(waiter->second);
}

void ObjectHost::OnTime(uint64_t serial) {
  const auto found = by_serial_.find(serial);
  if (found == by_serial_.end()) return;
  // Whether it was woken is not known for sure: then rather another one too many.
  found->second->call.GiveUp(/*has_slept=*/true);
  End(waiters_.find(found->second->key), absl::DeadlineExceededError(""));
}

void ObjectHost::Drop(Waiters::iterator waiter) { Take(waiter)->call.GiveUp(/*has_slept=*/true); }

void ObjectHost::Forget(uint64_t object, uint32_t number) {
  const auto is = [&](const Key& key) {
    return std::get<1>(key) == number &&
           (object == std::get<0>(key) || object == std::numeric_limits<uint64_t>::max());
  };
  for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
    const auto next = std::next(waiter);
    if (is(waiter->first)) Drop(waiter);
    waiter = next;
  }
  std::erase_if(answered_, [&](const auto& entry) { return is(entry.first); });
}

void ObjectHost::OnObjectRemoved(uint64_t object) {
  const Key first = {object, 0, 0};
  const auto of_it = [object](const auto& entry) { return std::get<0>(entry->first) == object; };
  for (auto waiter = waiters_.lower_bound(first); waiter != waiters_.end() && of_it(waiter);
       waiter = waiters_.lower_bound(first)) {
    waiter->second->call.GiveUp(/*has_slept=*/false);
    End(waiter, absl::UnavailableError("it was destroyed"));
  }
  for (auto answered = answered_.lower_bound(first); answered != answered_.end() && of_it(answered);
       answered = answered_.erase(answered)) {
  }
  std::vector<uint32_t> unused;
  for (const auto& [number, open_id] : registry_->FindObject(object)->users) {
    if (registry_->FindFarUser(number) != nullptr && !objects_->Uses(number, object)) {
      unused.push_back(number);
    }
  }
  for (const uint32_t number : unused) registry_->RemoveFarUser(number);
}

std::vector<std::pair<Holder, bool>> ObjectHost::WaitersOf(uint64_t object) const {
  std::vector<std::pair<Holder, bool>> waiters;
  for (auto waiter = waiters_.lower_bound({object, 0, 0});
       waiter != waiters_.end() && std::get<0>(waiter->first) == object; ++waiter) {
    const SyncCall& call = waiter->second->call;
    waiters.emplace_back(call.who(), call.op() == SyncOp::kLockShared);
  }
  return waiters;
}

}  // namespace mailrail
