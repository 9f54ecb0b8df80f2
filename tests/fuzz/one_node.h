#ifndef MAILRAIL_TESTS_FUZZ_ONE_NODE_H_
#define MAILRAIL_TESTS_FUZZ_ONE_NODE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "core/base/seqpacket.h"
#include "core/mailbox/inbox_queue.h"
#include "core/shm/memory.h"
#include "mailrail/process_id.h"
#include "node/agent/awaited_ends.h"
#include "node/agent/broker.h"
#include "node/agent/deadlock_search.h"
#include "node/agent/far_objects.h"
#include "node/agent/far_receipts.h"
#include "node/agent/local_service.h"
#include "node/agent/loop.h"
#include "node/agent/memory_shares.h"
#include "node/agent/object_host.h"
#include "node/agent/objects.h"
#include "node/agent/peer_calls.h"
#include "node/agent/regions.h"
#include "node/agent/registry.h"
#include "node/agent/remote_service.h"
#include "node/agent/vault.h"
#include "node/agent/watches.h"
#include "node/carrier/carrier.h"
#include "node/directory/embedded_directory.h"
#include "proto/agent.pb.h"

namespace mailrail {

// The agent of node alpha in this process and thread, without a keeper, a socket file and gRPC:
// it gets its connections by hand, and does something when it is told to. Thread-compatible.
class OneNode {
 public:
  // `carries`: with a carrier, and so with its thread; else with one that only remembers.
  explicit OneNode(bool carries);
  ~OneNode();

  // Has the agent do what there is to do now.
  void Settle();
  // A new connection; this is the program's end.
  Fd Connect();

  Registry& registry() { return *registry_; }
  Carrier& carrier() { return *carrier_; }
  Loop& loop() { return loop_; }

  // How many descriptors the agent has for what it knows of.
  size_t DescriptorsKnown() const;

 private:
  Loop loop_;
  Vault vault_{nullptr};
  Destination bell_;
  std::unique_ptr<RemoteService> remote_;
  std::unique_ptr<Carrier> carrier_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<MemoryShares> memory_;
  std::unique_ptr<PeerCalls> calls_;
  std::unique_ptr<EmbeddedDirectory> directory_;
  std::unique_ptr<Watches> watches_;
  std::unique_ptr<AwaitedEnds> awaited_;
  std::unique_ptr<Objects> objects_;
  std::unique_ptr<FarObjects> far_objects_;
  std::unique_ptr<ObjectHost> object_host_;
  std::unique_ptr<DeadlockSearch> deadlocks_;
  std::unique_ptr<Regions> regions_;
  std::unique_ptr<FarReceipts> receipts_;
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<LocalService> local_;
};

// A sound program, attached to the node: what the library would do, in the thread of the agent.
// Thread-compatible.
class Witness {
 public:
  explicit Witness(OneNode* node);

  const ProcessId& id() const { return id_; }
  uint64_t inbox_id() const { return inbox_id_; }

  // Asks; the agent must answer at once. What the answer grants goes into `fds`.
  control::Response Call(control::Request request, std::vector<Fd>* fds = nullptr);
  // Reads what the agent says unasked, and acknowledges it.
  void ReadNotices();

  // Sends to another program of this node, and sees that it gets that. Whatever else comes first,
  // or whoever's lane is closed, must not be of `sender`.
  void ExpectToHearFrom(Witness* sender);

  // The best message, of all or of one sender; lanes that are not well-formed are closed.
  bool Take(const ProcessId* only_from, Message* message);

 private:
  void Handle(const control::Notice& notice, std::vector<Fd> fds);
  // Reads one packet; false when there is none. A response goes into `response`.
  bool ReadOne(control::Response* response, std::vector<Fd>* fds);
  OutgoingLane* LaneTo(const ProcessId& other);

  OneNode* const node_;
  const Fd socket_;
  uint64_t last_id_ = 0;
  uint64_t sent_ = 0;
  ProcessId id_;
  uint64_t inbox_id_ = 0;
  Mapping control_;
  InboxQueue inbox_;
  std::map<std::string, std::shared_ptr<OutgoingLane>> lanes_;  // by the other's id
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_FUZZ_ONE_NODE_H_
