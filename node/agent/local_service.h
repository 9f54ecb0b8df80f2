#ifndef MAILRAIL_NODE_AGENT_LOCAL_SERVICE_H_
#define MAILRAIL_NODE_AGENT_LOCAL_SERVICE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "node/agent/broker.h"
#include "node/agent/client.h"
#include "node/agent/deadlock_search.h"
#include "node/agent/far_objects.h"
#include "node/agent/far_receipts.h"
#include "node/agent/limits.h"
#include "node/agent/loop.h"
#include "node/agent/memory_shares.h"
#include "node/agent/name_resolver.h"
#include "node/agent/objects.h"
#include "node/agent/post_queue.h"
#include "node/agent/regions.h"
#include "node/agent/registry.h"
#include "node/agent/watches.h"
#include "node/directory/directory.h"
#include "node/directory/peer_caller.h"

namespace mailrail {

// Answers the requests of this host's programs: what names stand for the resolver finds, and posts
// go through the queue of posts. One thread at a time: the loop's.
class LocalService {
 public:
  struct Options {
    size_t max_processes = 20000;
    size_t max_mailboxes = kMaxMailboxes;
    // What `mailrail nodes` shows.
    std::function<std::vector<control::NodeRow>()> nodes;
    std::function<void(absl::string_view)> log;
  };

  // All outlive it.
  LocalService(Options options, Loop* loop, Registry* registry, Broker* broker,
               MemoryShares* memory, Watches* watches, FarReceipts* receipts, Objects* objects,
               FarObjects* far_objects, DeadlockSearch* deadlocks, Regions* regions,
               Directory* directory, PeerCaller* peers);

  // A new connection.
  void Accept(Fd socket);
  // After a restart: the connections of all processes.
  void Resume();
  // Sends a notice to a process, if it is connected; returns its number, else 0.
  uint64_t Notify(uint32_t number, control::Notice notice, FdSource fds);
  // Our lane to another node was opened there, or refused: the answer that a connect waits for.
  void OnLaneState(uint64_t link_id, const absl::Status& status);

  size_t attached() const { return registry_->processes().size(); }
  // Connections of programs that have not attached.
  size_t newcomers() const { return newcomers_.size(); }

 private:
  using ClientPtr = std::shared_ptr<Client>;
  // One request that is being answered; it may outlive its client.
  struct Call {
    std::weak_ptr<Client> client;
    uint64_t id = 0;
    uint32_t number = 0;
    absl::Time deadline;
    control::Request request;
  };
  using CallPtr = std::shared_ptr<Call>;

  ClientPtr MakeClient(Fd socket);
  void OnRequest(const ClientPtr& client, const control::Request& request, std::vector<Fd> fds);
  void OnGone(const ClientPtr& client);
  void WatchProcess(const LocalProcess& process);
  // Of a process whose connection has ended: it is gone, unless its death is on the way.
  void AwaitDeath(uint32_t number);
  void OnProcessGone(uint32_t number);

  void Respond(const Call& call, const absl::Status& status);
  void Respond(const Call& call, control::Response response, std::vector<Fd> fds = {});
  LocalProcess* Caller(const Call& call) { return registry_->FindProcess(call.number); }

  void Attach(const ClientPtr& client, const CallPtr& call);
  absl::StatusOr<LocalProcess*> Register(const ClientPtr& client);
  void RegisterName(const CallPtr& call);
  void Resolve(const CallPtr& call);
  void WhoIs(const CallPtr& call);
  void Find(const CallPtr& call);
  void ConnectProcess(const CallPtr& call);
  void ConnectMailbox(const CallPtr& call);
  // The caller's own lane to a mailbox of this node.
  void GrantLane(const CallPtr& call, LocalMailbox* mailbox);
  void ListSubscriptions(const CallPtr& call);
  void ConnectSubscription(const CallPtr& call);
  void ConnectFarMailbox(const CallPtr& call, const FoundMailbox& found, const std::string& name);
  void CreateMailbox(const CallPtr& call);
  // Whether a mailbox may have this one for its dead letters.
  absl::Status CheckDeadLetter(const std::string& name);
  void OpenMailbox(const CallPtr& call);
  void OpenFarMailbox(const CallPtr& call, const FoundMailbox& found, const std::string& name);
  void DestroyMailbox(const CallPtr& call);
  void Purge(const CallPtr& call);
  void StatMailbox(const CallPtr& call);
  void Browse(const CallPtr& call);
  void Redrive(const CallPtr& call);
  void Post(const CallPtr& call, std::vector<Fd> fds);
  // What a post is for.
  void FindForPost(const control::Post& post, absl::Time deadline,
                   NameResolver::FoundCallback done);
  // The agent's own lane to what was found.
  absl::StatusOr<std::shared_ptr<OutgoingLane>> LaneTo(const NameResolver::Found& found);
  void Watch(const CallPtr& call);
  void WatchNode(const CallPtr& call);
  void AddWatch(const CallPtr& call, const absl::StatusOr<Subject>& subject);
  void RespondWatched(const Call& call, const mailrail::Watch& watch);
  void OpenObject(const CallPtr& call);
  void OpenLocalObject(const CallPtr& call, const std::string& name);
  void OpenFarObject(const CallPtr& call, const QualifiedName& name, bool create);
  void CloseObject(uint32_t number, const control::CloseObject& close);
  void DestroyObject(const CallPtr& call);
  void DoObjectOp(const CallPtr& call);
  void WaitForObject(const CallPtr& call);
  // Where an object is: `node` is empty for this one. `only_connected` as of Directory::FindObject.
  void FindObject(const CallPtr& call, proto::ObjectKind kind, const QualifiedName& name,
                  bool only_connected, std::function<void(absl::StatusOr<FoundObject>)> done);
  void OpenRegion(const CallPtr& call);
  void List(const CallPtr& call);
  void Ping(const CallPtr& call);

  // A mailbox by name: `here` or `far` is called.
  void FindMailbox(const CallPtr& call, const std::string& text,
                   std::function<void(LocalMailbox*)> here,
                   std::function<void(const FoundMailbox&, const std::string& name)> far);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  Broker* const broker_;
  MemoryShares* const memory_;
  Watches* const watches_;
  FarReceipts* const receipts_;
  Objects* const objects_;
  FarObjects* const far_objects_;
  DeadlockSearch* const deadlocks_;
  Regions* const regions_;
  Directory* const directory_;
  PeerCaller* const peers_;
  std::map<uint32_t, ClientPtr> clients_;    // attached
  std::map<uint64_t, ClientPtr> newcomers_;  // not attached, by serial: the oldest first
  uint64_t last_serial_ = 0;
  NameResolver resolver_;
  PostQueue posts_;
  absl::flat_hash_map<uint64_t, std::vector<CallPtr>> opening_;  // by link
  absl::flat_hash_map<uint64_t, bool> open_links_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_LOCAL_SERVICE_H_
