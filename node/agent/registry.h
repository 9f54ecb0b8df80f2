#ifndef MAILRAIL_NODE_AGENT_REGISTRY_H_
#define MAILRAIL_NODE_AGENT_REGISTRY_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/fd.h"
#include "core/lane/cell_layout.h"
#include "core/lane/ring_layout.h"
#include "core/mailbox/outgoing_lane.h"
#include "mailrail/mailbox.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"
#include "node/agent/destination.h"
#include "node/agent/far_object.h"
#include "node/agent/named_object.h"
#include "node/agent/named_region.h"
#include "node/agent/owner_names.h"
#include "node/agent/vault.h"
#include "node/agent/watch.h"
#include "proto/agent.pb.h"
#include "proto/state.pb.h"

namespace mailrail {

// A living process of this node.
struct LocalProcess {
  uint32_t number = 0;
  ProcessId id;
  uint32_t uid = 0;
  int32_t own_pid = 0;
  uint64_t inbox_id = 0;
  Destination inbox;
  Fd socket;  // its control connection
  Fd pidfd;
  std::string program;
  std::set<std::string> names;
  absl::flat_hash_set<uint64_t> links;
  absl::flat_hash_set<uint64_t> lanes;  // that it sends on
  // That it receives from, or has received from: until it is gone it may hold messages of theirs.
  absl::flat_hash_set<uint64_t> mailboxes;
  absl::flat_hash_set<uint64_t> proxies;  // for mailboxes of other nodes
  uint64_t dropped = 0;  // messages that it had sent to other nodes, and nobody received
  uint64_t expired = 0;  // messages to it that it found expired
};

// A process of another node that receives from a mailbox of this one.
struct RemoteReceiverEntry {
  uint32_t number = 0;
  ProcessId process;
  bool leases = false;  // it acknowledges by hand
  // As LocalMailbox::order; that of all receivers of its process. 0: it is cut off.
  uint64_t place = 0;
};

struct LocalMailbox {
  uint64_t id = 0;
  std::string name;
  MailboxOptions options;
  Destination destination;
  std::set<uint32_t> receivers;  // numbers of processes
  // Of processes that have closed their receivers and may still hold messages.
  std::set<uint32_t> former_receivers;
  std::set<uint32_t> leasing;  // those of both that acknowledge by hand, or have
  std::map<std::pair<std::string, uint64_t>, RemoteReceiverEntry> remote_receivers;  // node, key
  // The processes that have it open, here and on other nodes, in the order of their opening: the
  // number by which each holds the exclusive right, its own or that of its first receiver here.
  std::map<uint64_t, uint32_t> order;
  std::set<uint64_t> lanes;
  uint32_t creator = 0;
  uint64_t creator_request = 0;
  uint64_t dropped = 0;  // messages that were purged or lost
  uint64_t dead_letters = 0;

  // Of a broadcast mailbox: its subscriptions, mailboxes of one receiver each; and what the agent's
  // own claims are marked with, 0: it has made none.
  std::set<uint64_t> subscriptions;
  uint32_t distributor = 0;
  // Of a pipe: there were writers since its last end of file.
  bool written = false;
  // Of a subscription: its broadcast mailbox, 0: it is none; and the stamp of its opening.
  uint64_t broadcast_mailbox = 0;
  uint64_t opened_stamp = 0;

  bool broadcasts() const { return options.policy == ReceivePolicy::kBroadcast; }
  bool subscription() const { return broadcast_mailbox != 0; }

  // How many receivers of other nodes have this place.
  size_t CountAt(uint64_t place) const {
    return static_cast<size_t>(
        std::count_if(remote_receivers.begin(), remote_receivers.end(),
                      [place](const auto& entry) { return entry.second.place == place; }));
  }
};

// One end of a link, or the sender of a lane.
struct Endpoint {
  enum class Kind { kProcess, kAgent, kRemoteProcess, kRemoteMailbox };
  Kind kind = Kind::kAgent;
  uint32_t number = 0;  // kProcess
  ProcessId process;    // kRemoteProcess
  std::string node;     // kRemoteMailbox
  std::string mailbox;  // kRemoteMailbox

  static Endpoint OfAgent() { return Endpoint(); }
  static Endpoint OfProcess(uint32_t number);
  static Endpoint OfRemoteProcess(const ProcessId& id);
  static Endpoint OfRemoteMailbox(const std::string& node, const std::string& mailbox);

  bool remote() const { return kind == Kind::kRemoteProcess || kind == Kind::kRemoteMailbox; }
  const std::string& peer_node() const {
    return kind == Kind::kRemoteProcess ? process.node() : node;
  }
  // Equal for equal ends.
  std::string Key() const;
  // REQUIRES: remote(). For messages.
  std::string Name() const;
};

// Which ends of a link may send on it. One that may not has memory all the same, for what it says
// as a receiver.
enum class LinkDirection : uint32_t { kBoth = 0, kFromA = 1, kFromB = 2 };

// Two ring lanes with one memory for each end. End a is on this node.
struct Link {
  uint64_t id = 0;
  Endpoint a;
  Endpoint b;
  MailboxOptions options;
  RingGeometry geometry;
  Fd memory_a;                // written by end a
  Fd memory_b;                // written by end b, or, if that is remote, by this agent
  Destination far;            // a remote end b: control page, with the carrier's bell and gate
  uint64_t inbound_lane = 0;  // a remote end b: its lane's id there; 0: none is open
  bool finishing = false;     // what end a had sent is carried on, and then the link goes
  EndReason end_reason = EndReason::kNone;  // of end a
  bool outbound = false;                    // the carrier carries it; not kept
  // With a remote end b the agent of who may send alone decides: kFromB may be out of date, and who
  // wants to send then is to ask.
  LinkDirection direction = LinkDirection::kBoth;

  // Whether it is the link of its pair, for whoever asks for one.
  bool usable() const { return !finishing && !(b.remote() && far.closed()); }
};

// A sender's lane to a mailbox of this node.
struct MailboxLane {
  uint64_t id = 0;
  uint64_t mailbox = 0;
  CellGeometry geometry;
  Endpoint sender;
  ProcessId sender_id;  // what receivers are told
  uint64_t origin_lane = 0;
  uint32_t sender_uid = 0;
  bool orphaned = false;
  Fd data;
  Fd state;
  uint32_t max_attempts = 0;  // of its mailbox
};

// A process of this node that receives from a mailbox of another.
struct Proxy {
  uint64_t id = 0;
  uint32_t number = 0;
  std::string node;
  std::string mailbox;
  MailboxOptions options;
  bool leases = false;  // it acknowledges by hand
  CellGeometry geometry;
  Destination destination;
  uint64_t lane_id = 0;
  Fd data;
  Fd state;
};

// All that the agent knows of this node, in memory and in the keeper, and the only place where it
// changes. A change is kept before anybody is told of it, so an agent that is started again knows
// at least as much as anybody else.
//
// It creates and finds; who is to be told what is the callers' business. One thread at a time.
class Registry {
 public:
  using Log = std::function<void(absl::string_view)>;

  // `vault` outlives it.
  Registry(std::string node, uint64_t incarnation, Vault* vault, Log log)
      : node_(std::move(node)), incarnation_(incarnation), vault_(vault), log_(std::move(log)) {}

  const std::string& node() const { return node_; }
  uint64_t incarnation() const { return incarnation_; }
  // What messages of the agent's own lanes seem to come from, unless they say otherwise.
  ProcessId agent_id() const { return ProcessId(node_, agent_pid_, 1); }

  // Takes over what an agent before this one kept; the rest of the work is the callers'. A record
  // that is of no use (its memory cannot be mapped, say) is logged and dropped; only without the
  // node's own is there an error: kDataLoss.
  absl::Status Restore(std::vector<KeptRecord> records);

  // Keeps what is known of the node itself; call once, after Restore.
  void Begin() { SaveNode(); }

  // --- Processes.
  absl::StatusOr<LocalProcess*> AddProcess(int32_t pid, uint32_t uid, Fd socket, Fd pidfd);
  // kInvalidArgument when it is too large to be kept (logged, like every such failure).
  absl::Status SaveProcess(const LocalProcess& process);
  void RemoveProcess(uint32_t number);
  LocalProcess* FindProcess(uint32_t number);
  // Of all processes that are attached, and of receivers of other nodes; outlives the registry.
  const std::shared_ptr<OwnerNames>& owner_names() const { return owner_names_; }
  // By pid, and incarnation unless that is 0.
  LocalProcess* FindProcess(const ProcessId& id);
  LocalProcess* FindName(const std::string& name);
  // kAlreadyExists when another living process has it; kResourceExhausted when this process has
  // more names than can be kept.
  absl::Status AddName(LocalProcess* process, const std::string& name);
  // A number for something that claims messages, a process or not. Numbers rise; after the last one
  // (there are 2^24) they are used again. That is safe, because one is given out again only when
  // nothing known here has it any more, and once every claim in it has been released in every lane;
  // and because a ProcessId has the pid too: one of an earlier process would have to meet its pid
  // as well, 16 million processes later. kResourceExhausted when all are in use.
  absl::StatusOr<uint32_t> NewNumber();

  // --- Mailboxes.
  absl::StatusOr<LocalMailbox*> AddMailbox(const std::string& name, const MailboxOptions& options,
                                           uint32_t creator, uint64_t request);
  // A subscription of a broadcast mailbox, with its options, under a name that no other one has.
  absl::StatusOr<LocalMailbox*> AddSubscription(LocalMailbox* broadcast, uint32_t creator,
                                                uint64_t request);
  void SaveMailbox(const LocalMailbox& mailbox);
  void RemoveMailbox(uint64_t id);
  LocalMailbox* FindMailbox(uint64_t id);
  LocalMailbox* FindMailbox(const std::string& name);
  // Makes a process a receiver, the last in order; nothing changes when it is one. `leases`: one
  // that acknowledges by hand.
  absl::Status AddReceiver(LocalMailbox* mailbox, LocalProcess* process, bool leases);
  // It receives no more, but may hold messages until it is gone.
  void CloseReceiver(LocalMailbox* mailbox, uint32_t number);
  // REQUIRES: its claims are released. (An agent that dies in between finds them at its restart.)
  void RemoveReceiver(LocalMailbox* mailbox, uint32_t number);
  // A receiver of another node; nothing changes when it is there.
  absl::Status AddRemoteReceiver(LocalMailbox* mailbox, const std::string& node, uint64_t key,
                                 const ProcessId& process, bool leases);
  // It loses its place in the order of receivers, or gets one, the last, and that of its process if
  // that has one.
  void MoveRemoteReceiver(LocalMailbox* mailbox, const std::string& node, uint64_t key, bool open);
  // REQUIRES: its claims are released.
  void RemoveRemoteReceiver(LocalMailbox* mailbox, const std::string& node, uint64_t key);

  // --- Lanes to mailboxes of this node.
  absl::StatusOr<MailboxLane*> AddLane(LocalMailbox* mailbox, const Endpoint& sender,
                                       const ProcessId& sender_id, uint32_t sender_uid,
                                       uint64_t origin_lane);
  void RemoveLane(uint64_t id);
  MailboxLane* FindLane(uint64_t id);
  // Not one whose sender is gone.
  MailboxLane* FindLane(uint64_t mailbox, const Endpoint& sender, uint64_t origin_lane);
  // The sender of a lane is gone.
  void OrphanLane(MailboxLane* lane);

  // --- Links.
  absl::StatusOr<Link*> AddLink(const Endpoint& a, const Endpoint& b, const MailboxOptions& options,
                                LinkDirection direction = LinkDirection::kBoth);
  void SaveLink(const Link& link);
  void RemoveLink(uint64_t id);
  Link* FindLink(uint64_t id);
  const Link* FindLink(uint64_t id) const;
  // The usable link of this pair, whichever asked first.
  Link* FindLink(const Endpoint& a, const Endpoint& b);
  // The link whose end b, on `node`, sends on `lane`.
  Link* FindInbound(const std::string& node, uint64_t lane);

  // --- Proxies.
  absl::StatusOr<Proxy*> AddProxy(LocalProcess* process, const std::string& node,
                                  const std::string& mailbox, const MailboxOptions& options,
                                  bool leases);
  void RemoveProxy(uint64_t id);
  Proxy* FindProxy(uint64_t id);

  const std::map<uint32_t, std::unique_ptr<LocalProcess>>& processes() const { return processes_; }
  const std::map<uint64_t, std::unique_ptr<LocalMailbox>>& mailboxes() const { return mailboxes_; }
  const std::map<uint64_t, std::unique_ptr<MailboxLane>>& lanes() const { return lanes_; }
  const std::map<uint64_t, std::unique_ptr<Link>>& links() const { return links_; }
  const std::map<uint64_t, std::unique_ptr<Proxy>>& proxies() const { return proxies_; }

  // --- Watches.
  // kResourceExhausted when the process has kMaxWatches, kAlreadyExists when one of its own has
  // this id, `watch`.
  absl::StatusOr<Watch*> AddWatch(const LocalProcess& process, uint64_t watch,
                                  const Subject& subject);
  void SaveWatch(const Watch& watch);
  void RemoveWatch(uint64_t id);
  Watch* FindWatch(uint64_t id);
  Watch* FindWatch(uint32_t number, uint64_t watch);
  size_t CountWatches(uint32_t number) const;
  // The ids of all of a process, and of all of one subject.
  std::vector<uint64_t> WatchesOf(uint32_t number) const;
  std::vector<uint64_t> WatchesOf(const Subject& subject) const;
  const std::map<uint64_t, std::unique_ptr<Watch>>& watches() const { return watches_; }

  // --- Named objects.
  absl::StatusOr<NamedObject*> AddObject(const std::string& name, const proto::ObjectSpec& spec,
                                         Fd memory, Mapping map);
  void RemoveObject(uint64_t id);
  NamedObject* FindObject(uint64_t id);
  NamedObject* FindObject(proto::ObjectKind kind, const std::string& name);
  // A process has it open (once more): the id of this open, the largest of all.
  absl::StatusOr<uint64_t> AddUser(NamedObject* object, uint32_t number);
  // REQUIRES: what it holds is taken from it. (An agent that dies in between does so at its
  // restart.)
  void RemoveUser(NamedObject* object, uint32_t number);
  const std::map<uint64_t, std::unique_ptr<NamedObject>>& objects() const { return objects_; }

  // --- Objects of other nodes that processes of this one have open.
  // Finds it, if it is known.
  absl::StatusOr<FarObject*> AddFarObject(const std::string& node, uint64_t object_id,
                                          const std::string& name, const proto::ObjectSpec& spec);
  FarObject* FindFarObject(uint64_t id);
  FarObject* FindFarObject(const std::string& node, uint64_t object_id);
  absl::Status SetUser(FarObject* object, uint32_t number, const FarObject::User& user);
  // With the last user the object is forgotten.
  void RemoveUser(FarObject* object, uint32_t number);
  // None of a node's is found by its id there any more.
  void ForgetFarIds(const std::string& node);
  const std::map<uint64_t, FarObject>& far_objects() const { return far_objects_; }
  void SetHome(const std::string& node, const HomeState& state);
  const std::map<std::string, HomeState>& homes() const { return homes_; }
  absl::StatusOr<const Settling*> AddSettling(Settling settling);
  void RemoveSettling(uint64_t id);
  const std::map<uint64_t, Settling>& settlings() const { return settlings_; }

  // --- Processes of other nodes that have objects of this one open.
  // Finds it, if it is known.
  absl::StatusOr<FarUser*> AddFarUser(const ProcessId& process, uint64_t epoch);
  FarUser* FindFarUser(uint32_t number);
  FarUser* FindFarUser(const ProcessId& process);
  // REQUIRES: it has none open.
  void RemoveFarUser(uint32_t number);
  const std::map<uint32_t, FarUser>& far_users() const { return far_users_; }
  // A process that may hold something, of this node or another.
  bool MayHold(uint32_t number) {
    return FindProcess(number) != nullptr || FindFarUser(number) != nullptr;
  }

  // --- Named regions and values.
  // Gives it an id. REQUIRES: there is none of its kind, home and name.
  absl::StatusOr<NamedRegion*> AddRegion(std::unique_ptr<NamedRegion> region);
  void RemoveRegion(uint64_t id);
  NamedRegion* FindRegion(uint64_t id);
  // `home` is empty for one of this node.
  NamedRegion* FindRegion(proto::RegionSpec::Kind kind, const std::string& home,
                          const std::string& name);
  // A process has it open once more: the id of this open.
  absl::StatusOr<uint64_t> AddRegionOpen(NamedRegion* region, const RegionOpen& open);
  void RemoveRegionOpen(NamedRegion* region, uint64_t open_id);
  const std::map<uint64_t, std::unique_ptr<NamedRegion>>& regions() const { return regions_; }

  // --- Other nodes: which life of each was met last.
  void SavePeer(const std::string& node, uint64_t incarnation);
  const std::map<std::string, uint64_t>& peers() const { return peer_incarnations_; }
  // 0 when it was not met yet.
  uint64_t PeerIncarnation(const std::string& node) const {
    const auto it = peer_incarnations_.find(node);
    return it == peer_incarnations_.end() ? 0 : it->second;
  }

  // Puts everything into the vault again: its keeper is a new one.
  void SaveAll();

  uint64_t NewId();

 private:
  void SaveNode();
  // Replaces the value of a record.
  absl::Status Save(absl::string_view key, const google::protobuf::MessageLite& value);
  absl::StatusOr<LocalMailbox*> KeepMailbox(std::unique_ptr<LocalMailbox> mailbox);
  void SaveReceivers(const LocalMailbox& mailbox);
  void ReserveNumbers();
  std::set<uint32_t> NumbersInUse() const;
  absl::Status RestoreRecord(KeptRecord* record);
  absl::Status RestoreProcess(KeptRecord* record);
  absl::Status RestoreMailbox(KeptRecord* record);
  absl::Status RestoreReceiver(const KeptRecord& record);
  absl::Status RestoreLane(KeptRecord* record);
  absl::Status RestoreLink(KeptRecord* record);
  absl::Status RestoreProxy(KeptRecord* record);
  absl::Status RestoreWatch(const state::Watch& value);
  void SaveWatches();
  absl::Status RestoreObject(KeptRecord* record);
  absl::Status RestoreUser(const KeptRecord& record);
  void SaveObjects();
  // Of the kinds of keys of far objects, homes, far users and settlings.
  absl::Status RestoreFar(const KeptRecord& record, absl::string_view kind);
  void SaveFar();
  absl::Status RestoreRegion(KeptRecord* record);
  absl::Status RestoreRegionOpen(const KeptRecord& record);
  void SaveRegions();
  void IndexWatch(const Watch& watch);
  void IndexLink(const Link& link);
  void IndexLane(MailboxLane* lane);

  const std::string node_;
  uint64_t incarnation_;
  Vault* const vault_;
  const Log log_;
  const int32_t agent_pid_ = 1;
  const std::shared_ptr<OwnerNames> owner_names_ = std::make_shared<OwnerNames>();
  uint32_t last_number_ = 0;
  uint32_t numbers_reserved_ = 0;
  bool numbers_wrapped_ = false;
  std::set<uint32_t> numbers_taken_;  // of those reserved, by earlier owners
  uint64_t last_id_ = 0;
  uint64_t ids_reserved_ = 0;
  std::map<uint32_t, std::unique_ptr<LocalProcess>> processes_;
  std::map<uint64_t, std::unique_ptr<LocalMailbox>> mailboxes_;
  std::map<uint64_t, std::unique_ptr<MailboxLane>> lanes_;
  std::map<uint64_t, std::unique_ptr<Link>> links_;
  std::map<uint64_t, std::unique_ptr<Proxy>> proxies_;
  std::map<uint64_t, std::unique_ptr<Watch>> watches_;
  std::map<std::string, uint64_t> peer_incarnations_;
  absl::flat_hash_map<std::string, uint32_t> names_;
  absl::flat_hash_map<std::string, uint64_t> mailbox_names_;
  absl::flat_hash_map<std::string, uint64_t> link_of_pair_;
  absl::flat_hash_map<std::string, uint64_t> lane_of_sender_;
  absl::flat_hash_map<uint32_t, std::map<uint64_t, uint64_t>> watches_of_process_;  // by its ids
  absl::flat_hash_map<std::string, std::set<uint64_t>> watches_of_subject_;
  std::map<uint64_t, std::unique_ptr<NamedObject>> objects_;
  std::map<std::pair<proto::ObjectKind, std::string>, uint64_t> object_names_;
  std::map<uint64_t, FarObject> far_objects_;
  std::map<std::pair<std::string, uint64_t>, uint64_t> far_object_ids_;  // by node and its id there
  std::map<std::string, HomeState> homes_;
  std::map<uint64_t, Settling> settlings_;
  std::map<uint32_t, FarUser> far_users_;
  absl::flat_hash_map<ProcessId, uint32_t> far_numbers_;
  std::map<uint64_t, std::unique_ptr<NamedRegion>> regions_;
  // By kind, home and name.
  std::map<std::tuple<proto::RegionSpec::Kind, std::string, std::string>, uint64_t> region_names_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_REGISTRY_H_
