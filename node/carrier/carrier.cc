#include "node/carrier/carrier.h"

#include <pthread.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/shm/futex.h"
#include "node/carrier/inbound.h"
#include "node/carrier/outbound.h"
#include "node/carrier/peers.h"
#include "node/carrier/proxies.h"
#include "node/carrier/remote_receivers.h"
#include "node/carrier/task_queue.h"

namespace mailrail {
namespace {

// How long to sleep at most when there is more to wait for than one wait takes, and while messages
// move, which other threads may leave acknowledgements of.
constexpr absl::Duration kLookOften = absl::Milliseconds(1);

// One thread at a time takes a turn: runs the tasks and moves what there is to move. That is the
// carrier's own thread, which alone waits for senders, or, so that a message need not wait for that
// thread to be woken, the transport's which has brought something, if nobody takes one just now.
class CarrierImpl final : public Carrier {
 public:
  CarrierImpl(Options options, CarrierEvents* events)
      : options_(std::move(options)),
        events_(events),
        tasks_(bell(), gate()),
        parker_(bell(), gate()),
        outbound_(events, &moved_),
        inbound_({options_.bulk_window_bytes, options_.urgent_window_bytes}, options_.name_of,
                 events, &moved_),
        receivers_({[this](absl::string_view line) { Log(line); },
                    static_cast<uint64_t>(absl::GetCurrentTimeNanos())},
                   events),
        proxies_(events),
        thread_([this] { Loop(); }) {}

  ~CarrierImpl() override { Stop(); }

  void Stop() override {
    if (!thread_.joinable()) return;
    tasks_.Add([this] { stopping_ = true; });
    thread_.join();
    tasks_.Close();
  }

  void AddOutbound(OutboundLane lane) override {
    tasks_.Add([this, lane = std::move(lane)]() mutable {
      Peer* const peer = peers_.Get(lane.peer_node);
      outbound_.Add(std::move(lane), peer);
    });
  }
  void FinishOutbound(uint64_t lane, uint32_t end_reason) override {
    tasks_.Add([this, lane, end_reason] { outbound_.Finish(lane, end_reason); });
  }
  void RemoveOutbound(uint64_t lane) override {
    tasks_.Add([this, lane] { outbound_.Remove(lane); });
  }
  void AddInbound(InboundLane lane) override {
    tasks_.Add([this, lane = std::move(lane)]() mutable {
      Peer* const peer = peers_.Get(lane.peer_node);
      inbound_.Add(std::move(lane), peer);
    });
  }
  void RefuseLane(const std::string& node, uint64_t lane, absl::Status why,
                  bool for_good) override {
    tasks_.Add([=, this] { inbound_.Refuse(peers_.Get(node), lane, why, for_good); });
  }
  void RemoveInbound(const std::string& node, uint64_t lane) override {
    tasks_.Add([=, this] { inbound_.Remove(peers_.Get(node), lane); });
  }
  void AddReceiver(RemoteReceiver receiver) override {
    tasks_.Add([this, receiver = std::move(receiver)]() mutable {
      Peer* const peer = peers_.Get(receiver.peer_node);
      receivers_.Add(std::move(receiver), peer);
    });
  }
  void RemoveReceiver(const std::string& node, uint64_t key, bool tell) override {
    tasks_.Add([=, this] { receivers_.Remove(peers_.Get(node), key, tell); });
  }
  void AddProxy(ReceiverProxy proxy) override {
    tasks_.Add([this, proxy = std::move(proxy)]() mutable {
      Peer* const peer = peers_.Get(proxy.peer_node);
      proxies_.Add(std::move(proxy), peer);
    });
  }
  void ExtendLease(uint64_t key, int priority, uint64_t position, absl::Duration time) override {
    tasks_.Add([=, this] { proxies_.Extend(key, priority, position, time); });
  }
  void RemoveProxy(const std::string& node, uint64_t key) override {
    tasks_.Add([=, this] { proxies_.Remove(peers_.Get(node), key); });
  }
  void Poke() override {
    tasks_.Add([this] { looked_ = absl::InfinitePast(); });
  }
  void ForgetPeer(const std::string& node) override {
    tasks_.Add([this, node] {
      Peer* const peer = peers_.Get(node);
      outbound_.RemoveAllOf(peer);
      inbound_.RemoveAllOf(peer);
      receivers_.RemoveAllOf(peer);
      proxies_.RemoveAllOf(peer);
    });
  }

  bool Send(const std::string& node, proto::Frame frame) override;

  Counters counters() const override {
    absl::MutexLock lock(&mu_);
    return shown_;
  }

  void OnOpen(std::shared_ptr<Session> session) override;
  bool OnBatch(std::shared_ptr<Session> session, proto::Batch batch) override;
  void OnClose(std::shared_ptr<Session> session, absl::Status why) override;
  void OnWritable(std::shared_ptr<Session> session) override;
  void OnPeerProblem(absl::string_view node, absl::Status why) override {
    tasks_.Add([this, name = std::string(node), why] { events_->OnPeerProblem(name, why); });
  }

 private:
  BellWords* bell() const { return reinterpret_cast<BellWords*>(options_.bell.data()); }
  GateWord* gate() const { return reinterpret_cast<GateWord*>(options_.gate.data()); }
  void Log(absl::string_view line) const {
    if (options_.log) options_.log(line);
  }

  // The thread's.
  void Loop();
  void Sleep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);

  // Takes a turn if nobody else does, or else makes sure that who does takes another one.
  void TurnOrRing();

  // A turn, and its parts.
  bool Turn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);
  void Opened(std::shared_ptr<Session> session);
  void Ended(const std::shared_ptr<Session>& session);
  void Take(const std::shared_ptr<Session>& session, proto::Batch batch);
  // What answers us, on a session that we dialed.
  absl::Status TakeAnswer(Peer* peer, const Session& session, const proto::Frame& frame);
  // What the peer has for us, on a session that it dialed.
  absl::Status TakeOffer(Peer* peer, const std::shared_ptr<Session>& session, proto::Frame* frame);

  const Options options_;
  CarrierEvents* const events_;
  TaskQueue tasks_;

  // The thread's alone.
  Parker parker_;
  std::vector<FutexWord> words_;
  uint64_t moved_before_ = 0;  // what had been moved when it slept last

  // Held by who takes a turn, to whom belongs what follows. (Tasks hold it, too, which no analysis
  // sees.)
  absl::Mutex turn_;
  bool stopping_ = false;
  absl::Time looked_;  // when everything was looked at, announced or not
  uint32_t rung_ = 0;  // the gate, as the last turn has found it
  // When the carrier's thread, which sleeps, looks again.
  absl::Time sleeps_until_ = absl::InfinitePast();
  // What that thread is to wait for may have changed since it fell asleep.
  bool wait_changed_ = false;
  Counters moved_;
  Peers peers_;
  Outbound outbound_;
  Inbound inbound_;
  RemoteReceivers receivers_;
  Proxies proxies_;

  mutable absl::Mutex mu_;
  Counters shown_ ABSL_GUARDED_BY(mu_);
  // Open urgent sessions by the peer's node: those that we dialed, and those that it dialed.
  absl::flat_hash_map<std::string, std::shared_ptr<Session>> urgent_[2] ABSL_GUARDED_BY(mu_);
  // Of each peer's last session that was opened: sessions of its other lives have ended.
  absl::flat_hash_map<std::string, uint64_t> incarnations_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;  // last: it uses all of the above
};

bool CarrierImpl::Send(const std::string& node, proto::Frame frame) {
  // Written under the lock: the end of the session is told after this, or false is returned.
  absl::MutexLock lock(&mu_);
  const auto& sessions = urgent_[frame.has_request() || frame.has_receipts_seen()];
  const auto found = sessions.find(node);
  if (found == sessions.end()) return false;
  found->second->Write(std::move(frame));
  return true;
}

void CarrierImpl::OnOpen(std::shared_ptr<Session> session) {
  const bool urgent = session->session_class() == proto::URGENT;
  {
    absl::MutexLock lock(&mu_);
    incarnations_[session->peer_node()] = session->peer_incarnation();
    if (urgent) urgent_[session->dialed()][session->peer_node()] = session;
  }
  tasks_.AddFrom(session, 0, [this, session] { Opened(session); });
  tasks_.Ring();
}

void CarrierImpl::OnClose(std::shared_ptr<Session> session, absl::Status /*why*/) {
  const bool urgent = session->session_class() == proto::URGENT;
  if (urgent) {
    absl::MutexLock lock(&mu_);
    auto& sessions = urgent_[session->dialed()];
    const auto found = sessions.find(session->peer_node());
    if (found != sessions.end() && found->second == session) sessions.erase(found);
  }
  tasks_.AddFrom(session, 0, [this, session, urgent] {
    Ended(session);
    if (urgent && session->dialed()) events_->OnRequestsLost(session->peer_node());
  });
  tasks_.Ring();
}

bool CarrierImpl::OnBatch(std::shared_ptr<Session> session, proto::Batch batch) {
  const size_t bytes = batch.ByteSizeLong();
  const bool room = tasks_.AddFrom(
      session, bytes,
      [this, session, batch = std::move(batch)]() mutable { Take(session, std::move(batch)); });
  TurnOrRing();
  return room;
}

void CarrierImpl::OnWritable(std::shared_ptr<Session> /*session*/) { TurnOrRing(); }

void CarrierImpl::Opened(std::shared_ptr<Session> session) {
  Peer* const peer = peers_.Get(session->peer_node());
  const std::string address = session->peer_address();
  {
    // What bulk and urgent sessions say waits in different queues: this one may have ended long
    // since, and its peer started anew.
    absl::MutexLock lock(&mu_);
    if (incarnations_[peer->node()] != session->peer_incarnation()) return;
  }
  for (const auto& former : peer->NotOf(session->peer_incarnation())) Ended(former);
  if (!peer->Opened(std::move(session))) return;
  outbound_.PeerUp(peer);
  receivers_.PeerUp(peer);
  proxies_.PeerUp(peer);
  events_->OnPeerUp(peer->node(), peer->incarnation(), address);
}

void CarrierImpl::Ended(const std::shared_ptr<Session>& session) {
  Peer* const peer = peers_.Get(session->peer_node());
  if (!peer->Has(*session)) return;
  const bool broke = peer->Ended(session.get());
  if (broke) {
    outbound_.PeerDown(peer);
    receivers_.PeerDown(peer);
    events_->OnPeerDown(peer->node());
  } else if (!session->dialed() && session->session_class() == proto::BULK) {
    inbound_.SessionEnded(peer);
  } else if (!session->dialed()) {
    receivers_.SessionEnded(peer);
  }
}

void CarrierImpl::Take(const std::shared_ptr<Session>& session, proto::Batch batch) {
  Peer* const peer = peers_.Get(session->peer_node());
  for (proto::Frame& frame : *batch.mutable_frames()) {
    if (!peer->Has(*session)) return;
    const absl::Status status =
        session->dialed() ? TakeAnswer(peer, *session, frame) : TakeOffer(peer, session, &frame);
    if (status.ok()) continue;
    Log(absl::StrCat("session with node ", peer->node(), " closed: ", status.message()));
    session->Close(status);
    Ended(session);
  }
}

absl::Status CarrierImpl::TakeAnswer(Peer* peer, const Session& session,
                                     const proto::Frame& frame) {
  const bool bulk = session.session_class() == proto::BULK;
  if (frame.has_ack()) return outbound_.TakeAck(peer, frame.ack());
  wait_changed_ = true;
  if (frame.has_lane_state() && bulk) return outbound_.TakeLaneState(peer, frame.lane_state());
  if (frame.has_receivers() && bulk) {
    outbound_.TakeReceivers(peer, frame.receivers());
    return absl::OkStatus();
  }
  if (frame.has_receipts() && bulk) {
    outbound_.TakeReceipts(peer, frame.receipts());
    return absl::OkStatus();
  }
  if (frame.has_reply() && !bulk) {
    events_->OnReply(peer->node(), frame.reply());
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("a frame that is no answer, on a session that we dialed");
}

absl::Status CarrierImpl::TakeOffer(Peer* peer, const std::shared_ptr<Session>& session,
                                    proto::Frame* frame) {
  if (frame->has_data()) return inbound_.TakeData(peer, *session, frame->mutable_data());
  wait_changed_ = true;
  switch (frame->kind_case()) {
    case proto::Frame::kLaneOpen:
      inbound_.TakeLaneOpen(peer, *session, frame->lane_open());
      return absl::OkStatus();
    case proto::Frame::kLaneEnd:
      inbound_.TakeLaneEnd(peer, *session, frame->lane_end());
      return absl::OkStatus();
    case proto::Frame::kReceiptsSeen:
      inbound_.TakeReceiptsSeen(peer, *session, frame->receipts_seen());
      return absl::OkStatus();
    case proto::Frame::kRequest:
      events_->OnRequest(peer->node(), session->peer_incarnation(), frame->request());
      return absl::OkStatus();
    case proto::Frame::kWant:
      receivers_.TakeWant(peer, *session, frame->want());
      return absl::OkStatus();
    case proto::Frame::kDelivery:
      proxies_.TakeDelivery(peer, *session, frame->mutable_delivery());
      return absl::OkStatus();
    case proto::Frame::kOutcome:
      receivers_.TakeOutcome(peer, *session, frame->outcome());
      return absl::OkStatus();
    case proto::Frame::kExtend:
      receivers_.TakeExtend(peer, *session, frame->extend());
      return absl::OkStatus();
    case proto::Frame::kReceiverGone:
      if (frame->receiver_gone().mailbox_destroyed()) {
        proxies_.TakeGone(peer, *session, frame->receiver_gone().receiver_key());
      } else {
        receivers_.TakeGone(peer, *session, frame->receiver_gone().receiver_key());
      }
      return absl::OkStatus();
    case proto::Frame::kReceiverCheck:
      proxies_.TakeCheck(peer, *session, frame->receiver_check().receiver_key());
      events_->OnProxyCheck(peer->node(), frame->receiver_check().receiver_key());
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError("a frame that does not belong on a session that it dialed");
  }
}

bool CarrierImpl::Turn() {
  bool busy = tasks_.Run();
  // Read before all looks: who settles something after one rings after it.
  const uint32_t rung = std::exchange(rung_, gate()->gate.load());
  const absl::Time now = absl::Now();
  const bool look_again = now - looked_ >= kLookAgain || now < looked_;
  if (look_again) looked_ = now;
  busy |= inbound_.Publish(now, look_again);
  busy |= outbound_.Send(now);
  busy |= receivers_.Deliver(now, look_again);
  busy |= proxies_.Look(/*all=*/look_again || rung != rung_);
  peers_.Flush();
  if (busy) {
    absl::MutexLock lock(&mu_);
    shown_ = moved_;
  }
  return busy;
}

void CarrierImpl::TurnOrRing() {
  if (!turn_.TryLock()) return tasks_.Ring();
  const bool ended = stopping_;
  if (!ended) {
    Turn();
    outbound_.Flush();  // what was acknowledged
  }
  // It alone waits for room, for those who wait for mailboxes of ours, and for the time.
  const bool ring = ended || wait_changed_ || inbound_.WaitsForRoom() || !tasks_.empty() ||
                    inbound_.NextAck() < sleeps_until_;
  turn_.Unlock();
  if (ring) tasks_.Ring();
}

void CarrierImpl::Sleep() {
  outbound_.Flush();
  words_.clear();
  words_.push_back(parker_.Park());
  receivers_.Park(&words_);
  proxies_.Park(&words_);
  wait_changed_ = false;
  if (!Turn()) {
    inbound_.AddWords(&words_);
    absl::Duration timeout = parker_.LookAgainAfter();
    const uint64_t moved = moved_.sent + moved_.received;
    if (words_.size() > kMaxFutexWords || moved != moved_before_) timeout = kLookOften;
    moved_before_ = moved;
    if (words_.size() > kMaxFutexWords) words_.resize(kMaxFutexWords);
    const absl::Time now = absl::Now();
    const absl::Time until = std::min(now + timeout, inbound_.NextAck());
    sleeps_until_ = until;
    turn_.Unlock();
    FutexWaitAny(words_, until - now);
    turn_.Lock();
    sleeps_until_ = absl::InfinitePast();
  }
  parker_.Unpark(/*sole=*/true);
}

void CarrierImpl::Loop() {
  pthread_setname_np(pthread_self(), "carrier");
  absl::MutexLock lock(&turn_);
  while (!stopping_) {
    if (!Turn()) Sleep();
  }
}

}  // namespace

std::unique_ptr<Carrier> Carrier::Start(Options options, CarrierEvents* events) {
  return std::make_unique<CarrierImpl>(std::move(options), events);
}

}  // namespace mailrail
