// What the tests of the agent's parts share: a keeper's store, and a carrier that only remembers.
#ifndef MAILRAIL_NODE_AGENT_AGENT_TESTING_H_
#define MAILRAIL_NODE_AGENT_AGENT_TESTING_H_

#include <unistd.h>

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/seqpacket.h"
#include "node/agent/registry.h"
#include "node/agent/vault.h"
#include "node/carrier/carrier.h"
#include "node/keeper/store.h"
#include "node/keeper/store_server.h"

namespace mailrail {

// A keeper's store, served by a thread, and its one client.
class TestKeeper {
 public:
  TestKeeper() {
    std::pair<Fd, Fd> sockets = SeqpacketPair().value();
    vault_ = std::make_unique<Vault>(KeeperClient::FromFd(std::move(sockets.first)).value());
    server_ = std::thread([socket = std::move(sockets.second)] {
      StoreServer store;
      while (true) {
        absl::StatusOr<Packet> request = ReceivePacket(socket.get(), /*wait=*/true);
        if (!request.ok()) return;
        const StoreServer::Reply reply = store.Handle(*std::move(request));
        if (!SendPacket(socket.get(), reply.bytes, reply.fds).ok()) return;
      }
    });
  }
  ~TestKeeper() {
    vault_.reset();
    server_.join();
  }

  Vault* vault() { return vault_.get(); }
  std::vector<KeptRecord> List() { return vault_->keeper()->List().value(); }
  std::vector<std::string> Keys() {
    std::vector<std::string> keys;
    for (const KeptRecord& record : List()) keys.push_back(record.key);
    return keys;
  }

 private:
  std::unique_ptr<Vault> vault_;
  std::thread server_;
};

// A process of the registry, as if it had attached; its pid is nobody's.
inline LocalProcess* AddTestProcess(Registry* registry, int32_t pid = 0x7fffffff) {
  return registry->AddProcess(pid, getuid(), Fd(dup(0)), Fd(dup(0))).value();
}

// Remembers what it was told to carry.
class RememberingCarrier : public Carrier {
 public:
  std::set<uint64_t> outbound, finishing;
  std::set<uint64_t> one_way;  // of those outbound
  std::set<std::pair<std::string, uint64_t>> removed_inbound;
  std::set<std::string> forgotten;
  std::vector<RemoteReceiver> receivers;

  void Stop() override {}
  void AddOutbound(OutboundLane lane) override {
    outbound.insert(lane.id);
    if (lane.open.one_way()) one_way.insert(lane.id);
  }
  void FinishOutbound(uint64_t lane, uint32_t) override { finishing.insert(lane); }
  void RemoveOutbound(uint64_t lane) override {
    outbound.erase(lane);
    one_way.erase(lane);
  }
  void AddInbound(InboundLane) override {}
  void RefuseLane(const std::string&, uint64_t, absl::Status, bool) override {}
  void RemoveInbound(const std::string& node, uint64_t lane) override {
    removed_inbound.insert({node, lane});
  }
  void AddReceiver(RemoteReceiver receiver) override { receivers.push_back(std::move(receiver)); }
  void RemoveReceiver(const std::string&, uint64_t, bool) override {}
  void AddProxy(ReceiverProxy) override {}
  void RemoveProxy(const std::string&, uint64_t) override {}
  void ExtendLease(uint64_t, int, uint64_t, absl::Duration) override {}
  void Poke() override {}
  void ForgetPeer(const std::string& node) override { forgotten.insert(node); }
  bool Send(const std::string&, proto::Frame) override { return false; }
  Counters counters() const override { return {}; }

  void OnOpen(std::shared_ptr<Session>) override {}
  bool OnBatch(std::shared_ptr<Session>, proto::Batch) override { return true; }
  void OnClose(std::shared_ptr<Session>, absl::Status) override {}
  void OnWritable(std::shared_ptr<Session>) override {}
  void OnPeerProblem(absl::string_view, absl::Status) override {}
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_AGENT_TESTING_H_
