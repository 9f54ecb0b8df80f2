#ifndef MAILRAIL_NODE_AGENT_REMOTE_SERVICE_H_
#define MAILRAIL_NODE_AGENT_REMOTE_SERVICE_H_

#include <functional>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "node/agent/awaited_ends.h"
#include "node/agent/broker.h"
#include "node/agent/deadlock_search.h"
#include "node/agent/far_objects.h"
#include "node/agent/far_receipts.h"
#include "node/agent/local_service.h"
#include "node/agent/loop.h"
#include "node/agent/object_host.h"
#include "node/agent/objects.h"
#include "node/agent/peer_calls.h"
#include "node/agent/regions.h"
#include "node/agent/registry.h"
#include "node/agent/watches.h"
#include "node/carrier/carrier.h"

namespace mailrail {

// What other nodes ask of this one, and what the carrier has found. The carrier's calls come from
// other threads and are posted to the loop, where all the rest happens.
class RemoteService : public CarrierEvents {
 public:
  struct Options {
    std::function<void(absl::string_view)> log;
  };

  RemoteService(Options options, Loop* loop) : options_(std::move(options)), loop_(loop) {}
  // Before the carrier starts to call; all outlive the carrier.
  void Connect(Registry* registry, Broker* broker, LocalService* local, PeerCalls* calls,
               Watches* watches, AwaitedEnds* awaited, FarReceipts* receipts, Objects* objects,
               FarObjects* far_objects, ObjectHost* object_host, DeadlockSearch* deadlocks,
               Regions* regions, Carrier* carrier);
  // The answer to a request.
  void Reply(const std::string& node, uint64_t id, const proto::Reply& reply);
  // What an agent before this one knew of its peers.
  void Restore(const std::string& node, uint64_t incarnation) {
    incarnations_[node] = incarnation;
    calls_->AddPeer(node);
  }

  void OnPeerUp(const std::string& node, uint64_t incarnation, const std::string& address) override;
  void OnPeerDown(const std::string& node) override;
  void OnPeerProblem(const std::string& node, absl::Status why) override;
  void OnLaneState(uint64_t lane, absl::Status status, const proto::LaneState& state) override;
  void OnReceivers(uint64_t lane, uint32_t count) override;
  void OnReceipts(const std::string& node, const proto::Receipts& receipts) override;
  void OnLaneFinished(uint64_t lane) override;
  void OnLaneCorrupt(uint64_t lane) override;
  void OnLaneOpen(const std::string& node, uint64_t incarnation,
                  const proto::LaneOpen& open) override;
  void OnLaneEnd(const std::string& node, uint64_t lane, uint32_t end_reason) override;
  void OnInboundClosed(const std::string& node, uint64_t lane, absl::Status why) override;
  void OnRequest(const std::string& node, uint64_t incarnation,
                 const proto::Request& request) override;
  void OnReply(const std::string& node, const proto::Reply& reply) override;
  void OnRequestsLost(const std::string& node) override;
  void OnReceiverGone(const std::string& node, uint64_t key) override;
  void OnProxyGone(const std::string& node, uint64_t key) override;
  void OnProxyCheck(const std::string& node, uint64_t key) override;
  void OnReceiverBehind(const std::string& node, uint64_t key) override;
  void OnReceiverCutOff(const std::string& node, uint64_t key) override;
  void OnReceiverReached(const std::string& node, uint64_t key) override;
  void OnMessageDropped(uint64_t mailbox) override;
  void OnInboundLook(const std::string& node, uint64_t lane) override;
  void OnMessageReturned(uint64_t mailbox) override;

 private:
  // Has the loop run what a peer has brought; false when too much of that peer's waits already.
  // Thread-safe.
  bool PostFrom(const std::string& node, std::function<void()> call) ABSL_LOCKS_EXCLUDED(mutex_);
  // A peer has shown itself in this incarnation: if it is a new one, the old one's are forgotten.
  void Meet(const std::string& node, uint64_t incarnation);
  void CountDropped() ABSL_LOCKS_EXCLUDED(mutex_);
  void Answer(const std::string& node, const proto::Request& request);
  // The mailbox of this node that has both; null when there is none.
  LocalMailbox* FindMailbox(const std::string& name, uint64_t id);
  void Browse(const std::string& node, const proto::Request& request);
  void Redrive(const std::string& node, const proto::Request& request);

  const Options options_;
  Loop* const loop_;
  Registry* registry_ = nullptr;
  Broker* broker_ = nullptr;
  LocalService* local_ = nullptr;
  PeerCalls* calls_ = nullptr;
  Watches* watches_ = nullptr;
  AwaitedEnds* awaited_ = nullptr;
  FarReceipts* receipts_ = nullptr;
  Objects* objects_ = nullptr;
  FarObjects* far_objects_ = nullptr;
  ObjectHost* object_host_ = nullptr;
  DeadlockSearch* deadlocks_ = nullptr;
  Regions* regions_ = nullptr;
  Carrier* carrier_ = nullptr;
  std::map<std::string, uint64_t> incarnations_;
  absl::Mutex mutex_;
  std::map<std::string, uint64_t> waiting_ ABSL_GUARDED_BY(mutex_);  // calls, by node
  // Messages, by mailbox, that are not yet counted there.
  std::map<uint64_t, uint64_t> dropped_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_REMOTE_SERVICE_H_
