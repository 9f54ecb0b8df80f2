#include "node/agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/base/seqpacket.h"
#include "core/shm/barrier.h"
#include "core/shm/memory_limit.h"
#include "mailrail/status.h"
#include "node/agent/awaited_ends.h"
#include "node/agent/broker.h"
#include "node/agent/deadlock_search.h"
#include "node/agent/far_objects.h"
#include "node/agent/limit_watch.h"
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
#include "node/keeper/keeper.h"
#include "node/peer/transport.h"
#include "proto/state.pb.h"

namespace mailrail {
namespace {

constexpr absl::Duration kDrainLook = absl::Milliseconds(20);

// Half: shared memory is not all that runs on a host.
uint64_t NodeMemory(const AgentConfig& config) {
  if (config.memory_bytes != 0) return config.memory_bytes;
  return std::min(CgroupMemoryLimit(), PhysicalMemory()) / 2;
}

uint64_t NewIncarnation() {
  std::random_device device;
  return (uint64_t{device()} << 32 | device()) | 1;
}

// The parts of one running agent, and what joins them.
class Agent {
 public:
  Agent(const AgentConfig& config, const std::vector<std::string>& command)
      : config_(config), command_(command) {}

  absl::Status Start(int keeper_fd);
  void Run() { loop_.Run(); }
  absl::Status Stop();

 private:
  void Log(absl::string_view line) const {
    fprintf(stderr, "mailrail %s: %.*s\n", config_.node.c_str(), static_cast<int>(line.size()),
            line.data());
  }
  // What the keeper has for us; empty at a first start.
  absl::StatusOr<std::vector<KeptRecord>> TakeRecords();
  absl::Status Listen(std::vector<KeptRecord>* records);
  // The keeper holds the lock on the socket's path as long as it holds the socket.
  absl::Status KeepListener() {
    return vault_->Put("listen", state::Node(), {listener_.socket.get(), listener_.lock.get()});
  }
  absl::Status MakeCarrierBell(std::vector<KeptRecord>* records);
  void MakeParts(uint64_t incarnation);
  absl::Status StartTransport();
  void WatchAll();
  void OnAccept();
  void OnSignal();
  void OnKeeperGone();
  void CheckIdle();
  void Drain(absl::Time deadline);
  std::vector<control::NodeRow> Nodes() const;

  const AgentConfig config_;
  const std::vector<std::string> command_;
  Loop loop_;
  Listener listener_;
  Fd signals_;
  bool restored_ = false;
  bool draining_ = false;
  Fd spare_;           // let go of to accept a connection when there are no descriptors left
  bool full_ = false;  // the last connection could not be accepted for want of a descriptor
  absl::Time idle_since_ = absl::Now();
  std::unique_ptr<Vault> vault_;
  Destination carrier_bell_;
  std::unique_ptr<RemoteService> remote_;
  std::unique_ptr<Carrier> carrier_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<MemoryShares> memory_;
  std::unique_ptr<PeerCalls> calls_;
  std::unique_ptr<EmbeddedDirectory> directory_;
  std::unique_ptr<Watches> watches_;
  std::unique_ptr<FarReceipts> receipts_;
  std::unique_ptr<AwaitedEnds> awaited_;
  std::unique_ptr<Objects> objects_;
  std::unique_ptr<FarObjects> far_objects_;
  std::unique_ptr<ObjectHost> object_host_;
  std::unique_ptr<DeadlockSearch> deadlocks_;
  std::unique_ptr<Regions> regions_;
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<LocalService> local_;
  std::unique_ptr<LimitWatch> limits_;
  std::unique_ptr<PeerTransport> transport_;
};

// The descriptors of a record, which is taken out of `records`.
std::vector<Fd> TakeFds(std::vector<KeptRecord>* records, absl::string_view key) {
  for (KeptRecord& record : *records) {
    if (record.key == key) return std::move(record.fds);
  }
  return {};
}

absl::StatusOr<std::vector<KeptRecord>> Agent::TakeRecords() {
  if (vault_->keeper() == nullptr) return std::vector<KeptRecord>();
  absl::StatusOr<std::vector<KeptRecord>> records = vault_->keeper()->List();
  if (!records.ok()) return records;
  restored_ = std::any_of(records->begin(), records->end(),
                          [](const KeptRecord& record) { return record.key == "node"; });
  return records;
}

absl::Status Agent::Listen(std::vector<KeptRecord>* records) {
  std::vector<Fd> kept = TakeFds(records, "listen");
  if (kept.size() == 2) {
    listener_ = {std::move(kept[0]), std::move(kept[1])};
    return absl::OkStatus();
  }
  const std::string folder = config_.socket.substr(0, config_.socket.rfind('/'));
  if (!folder.empty()) mkdir(folder.c_str(), 0755);
  absl::StatusOr<Listener> listener = SeqpacketListen(config_.socket, config_.socket_mode);
  if (!listener.ok()) return listener.status();
  listener_ = *std::move(listener);
  return KeepListener();
}

absl::Status Agent::MakeCarrierBell(std::vector<KeptRecord>* records) {
  std::vector<Fd> kept = TakeFds(records, "carrier");
  absl::StatusOr<Destination> bell = kept.size() == 3 ? Destination::Adopt(std::move(kept))
                                                      : Destination::Create("mailrail.carrier");
  if (!bell.ok()) return bell.status();
  carrier_bell_ = *std::move(bell);
  return vault_->Put("carrier", state::Carrier(), carrier_bell_.fds());
}

void Agent::MakeParts(uint64_t incarnation) {
  const auto log = [this](absl::string_view line) { Log(line); };
  registry_ = std::make_unique<Registry>(config_.node, incarnation, vault_.get(), log);
  remote_ = std::make_unique<RemoteService>(RemoteService::Options{log}, &loop_);
  Carrier::Options options;
  options.node = config_.node;
  options.bell = carrier_bell_.MapBell().value();
  options.gate = carrier_bell_.MapGate().value();
  options.name_of = [names = registry_->owner_names()](uint32_t number) {
    return names->NameOf(number);
  };
  options.log = log;
  carrier_ = Carrier::Start(std::move(options), remote_.get());
  calls_ = std::make_unique<PeerCalls>(&loop_, carrier_.get());
  for (const auto& [node, address] : config_.peers) {
    if (node != config_.node) calls_->AddPeer(node);
  }
  directory_ = std::make_unique<EmbeddedDirectory>(calls_.get());
  Broker::Options broker_options;
  broker_options.notify = [this](uint32_t number, control::Notice notice, FdSource fds) {
    local_->Notify(number, std::move(notice), std::move(fds));
  };
  broker_options.log = log;
  memory_ = std::make_unique<MemoryShares>(
      MemoryShares::Options{NodeMemory(config_), config_.process_memory_bytes, log}, &loop_,
      registry_.get());
  broker_options.budget = memory_->agent_budget();
  broker_options.link_ended = [this](uint64_t link, const absl::Status& why) {
    local_->OnLaneState(link, why);
    awaited_->OnLinkEnded();
  };
  broker_options.process_gone = [this](const LocalProcess& process, EndReason reason) {
    watches_->OnProcessGone(process, reason);
    awaited_->OnProcessGone(process, reason);
    objects_->OnProcessGone(process.number);
    far_objects_->OnProcessGone(process.number);
    regions_->OnProcessGone(process.number);
  };
  broker_options.mailbox_destroyed = [this](const LocalMailbox& mailbox) {
    watches_->OnMailboxDestroyed(mailbox);
    awaited_->OnMailboxDestroyed(mailbox);
  };
  broker_ =
      std::make_unique<Broker>(std::move(broker_options), &loop_, registry_.get(), &carrier_bell_);
  broker_->set_carrier(carrier_.get());
  Watches::Options watch_options;
  watch_options.notify = [this](uint32_t number, control::Notice notice) {
    return local_->Notify(number, std::move(notice), nullptr);
  };
  watches_ =
      std::make_unique<Watches>(std::move(watch_options), &loop_, registry_.get(), calls_.get());
  awaited_ = std::make_unique<AwaitedEnds>(
      registry_.get(), [this](const std::string& node, uint64_t id, const proto::Reply& reply) {
        remote_->Reply(node, id, reply);
      });
  FarReceipts::Options receipt_options;
  receipt_options.notify = [this](uint32_t number, control::Notice notice) {
    return local_->Notify(number, std::move(notice), nullptr);
  };
  receipt_options.send = [this](const std::string& node, proto::Frame frame) {
    return carrier_->Send(node, std::move(frame));
  };
  receipts_ = std::make_unique<FarReceipts>(std::move(receipt_options), registry_.get());
  objects_ = std::make_unique<Objects>(registry_.get());
  FarObjects::Options far_options;
  far_options.notify = [this](uint32_t number, control::Notice notice) {
    local_->Notify(number, std::move(notice), nullptr);
  };
  far_options.search = [this](uint32_t number, uint32_t thread,
                              std::function<void(const absl::Status&)> done) {
    deadlocks_->Search(number, thread, std::move(done));
  };
  far_options.log = log;
  far_objects_ =
      std::make_unique<FarObjects>(std::move(far_options), &loop_, registry_.get(), calls_.get());
  ObjectHost::Options host_options;
  host_options.lease = config_.object_lease;
  host_options.answer = [this](const std::string& node, uint64_t id, const proto::Reply& reply) {
    remote_->Reply(node, id, reply);
  };
  host_options.log = log;
  object_host_ = std::make_unique<ObjectHost>(std::move(host_options), &loop_, registry_.get(),
                                              objects_.get());
  deadlocks_ = std::make_unique<DeadlockSearch>(registry_.get(), objects_.get(), far_objects_.get(),
                                                calls_.get());
  Regions::Options region_options;
  region_options.max_bytes = std::min(kMaxRegionBytes, NodeMemory(config_));
  region_options.answer = [this](const std::string& node, uint64_t id, const proto::Reply& reply) {
    remote_->Reply(node, id, reply);
  };
  region_options.log = log;
  regions_ = std::make_unique<Regions>(region_options, &loop_, registry_.get(), directory_.get(),
                                       calls_.get());
  LocalService::Options local_options;
  local_options.max_processes = config_.max_processes;
  local_options.nodes = [this] { return Nodes(); };
  local_options.log = log;
  local_ = std::make_unique<LocalService>(
      std::move(local_options), &loop_, registry_.get(), broker_.get(), memory_.get(),
      watches_.get(), receipts_.get(), objects_.get(), far_objects_.get(), deadlocks_.get(),
      regions_.get(), directory_.get(), calls_.get());
  limits_ = std::make_unique<LimitWatch>(log, config_.max_processes, &loop_, registry_.get());
  remote_->Connect(registry_.get(), broker_.get(), local_.get(), calls_.get(), watches_.get(),
                   awaited_.get(), receipts_.get(), objects_.get(), far_objects_.get(),
                   object_host_.get(), deadlocks_.get(), regions_.get(), carrier_.get());
}

absl::Status Agent::StartTransport() {
  if (config_.listen.empty() && config_.peers.empty()) return absl::OkStatus();
  PeerTransportOptions options;
  options.cluster_id = config_.cluster;
  options.node = config_.node;
  options.node_incarnation = registry_->incarnation();
  options.listen_address = config_.listen;
  options.advertised_address = config_.advertise.empty() ? config_.listen : config_.advertise;
  options.peers = config_.peers;
  absl::StatusOr<std::unique_ptr<PeerTransport>> transport =
      PeerTransport::Start(std::move(options), carrier_.get());
  if (absl::IsUnavailable(transport.status())) {
    // Its address is not to be had: at a first start that is a mistake of whoever started us, and
    // the keeper does not try again.
    return absl::FailedPreconditionError(
        absl::StrCat(transport.status().message(),
                     "; another program listens there, or it is no address of "
                     "this host"));
  }
  if (!transport.ok()) return transport.status();
  transport_ = *std::move(transport);
  return absl::OkStatus();
}

absl::Status Agent::Start(int keeper_fd) {
  // While this is the only thread: it is quick then.
  RegisterForBarriers();
  std::unique_ptr<KeeperClient> keeper;
  if (keeper_fd >= 0) {
    absl::StatusOr<std::unique_ptr<KeeperClient>> client = KeeperClient::FromFd(Fd(keeper_fd));
    if (!client.ok()) return client.status();
    keeper = *std::move(client);
  }
  vault_ = std::make_unique<Vault>(std::move(keeper));
  absl::StatusOr<std::vector<KeptRecord>> records = TakeRecords();
  if (!records.ok()) return records.status();
  if (absl::Status status = CheckName("node", config_.node); !status.ok()) return status;
  if (absl::Status status = Listen(&*records); !status.ok()) return status;
  if (absl::Status status = MakeCarrierBell(&*records); !status.ok()) return status;
  MakeParts(NewIncarnation());
  if (absl::Status status = registry_->Restore(*std::move(records)); !status.ok()) return status;
  registry_->Begin();
  for (const auto& [node, incarnation] : registry_->peers()) remote_->Restore(node, incarnation);
  if (restored_) {
    memory_->Resume();
    local_->Resume();
    broker_->Resume();
    watches_->Resume();
    objects_->Resume();
    object_host_->Resume();
    far_objects_->Resume();
    regions_->Resume();
  }
  if (absl::Status status = StartTransport(); !status.ok()) return status;
  WatchAll();
  Log(restored_ ? absl::StrCat("started again, with ", registry_->processes().size(),
                               " processes and ", registry_->mailboxes().size(), " mailboxes")
                : absl::StrCat("listening at ", config_.socket,
                               config_.listen.empty() ? "" : " and ", config_.listen));
  return absl::OkStatus();
}

void Agent::WatchAll() {
  loop_.Watch(listener_.socket.get(), EPOLLIN, [this](uint32_t) { OnAccept(); });
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  loop_.Watch(signals_.get(), EPOLLIN, [this](uint32_t) { OnSignal(); });
  if (vault_->keeper() != nullptr) {
    loop_.Watch(vault_->keeper()->fd(), 0, [this](uint32_t) { OnKeeperGone(); });
  }
  if (config_.idle_exit != absl::InfiniteDuration()) CheckIdle();
  spare_.Reset(eventfd(0, EFD_CLOEXEC));
  limits_->Look();
}

void Agent::OnAccept() {
  if (!spare_.valid()) spare_.Reset(eventfd(0, EFD_CLOEXEC));
  for (int i = 0; i < 64; ++i) {
    Fd socket(accept4(listener_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid() && errno == EMFILE && spare_.valid()) {
      // One at a time is told that there are none.
      spare_.Reset();
      continue;
    }
    if (socket.valid()) {
      full_ = full_ && !spare_.valid();
      local_->Accept(std::move(socket));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE) {
      if (!full_) Log(absl::StrCat("cannot accept: ", OutOfDescriptors().message()));
      full_ = true;
      loop_.Unwatch(listener_.socket.get());
      loop_.RunAfter(absl::Milliseconds(100), [this] {
        loop_.Watch(listener_.socket.get(), EPOLLIN, [this](uint32_t) { OnAccept(); });
      });
    }
    return;
  }
}

void Agent::OnSignal() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) > 0) {
  }
  if (draining_) return;
  draining_ = true;
  Log("stopping");
  loop_.Unwatch(listener_.socket.get());
  if (transport_ != nullptr) transport_->AnnounceStop();
  broker_->StopOutbound();
  Drain(absl::Now() + config_.drain_timeout);
}

void Agent::Drain(absl::Time deadline) {
  if (broker_->AllCarried() || absl::Now() >= deadline) {
    loop_.Stop();
    return;
  }
  loop_.RunAfter(kDrainLook, [this, deadline] { Drain(deadline); });
}

void Agent::OnKeeperGone() {
  loop_.Unwatch(vault_->keeper()->fd());
  Log("the keeper died; starting another");
  KeeperOptions options;
  options.agent_command = command_;
  absl::StatusOr<std::unique_ptr<KeeperClient>> keeper = StartKeeper(options);
  if (!keeper.ok()) {
    Log(absl::StrCat("no keeper: ", keeper.status().ToString()));
    vault_->Replace(nullptr);
    return;
  }
  vault_->Replace(*std::move(keeper));
  KeepListener().IgnoreError();
  vault_->Put("carrier", state::Carrier(), carrier_bell_.fds()).IgnoreError();
  registry_->SaveAll();
  loop_.Watch(vault_->keeper()->fd(), 0, [this](uint32_t) { OnKeeperGone(); });
}

void Agent::CheckIdle() {
  if (!registry_->processes().empty() || local_->newcomers() > 0 || !broker_->Empty()) {
    idle_since_ = absl::Now();
  } else if (absl::Now() - idle_since_ >= config_.idle_exit) {
    Log("idle; leaving");
    loop_.Stop();
    return;
  }
  loop_.RunAfter(std::min(config_.idle_exit / 4, absl::Duration(absl::Seconds(5))),
                 [this] { CheckIdle(); });
}

std::vector<control::NodeRow> Agent::Nodes() const {
  std::vector<control::NodeRow> rows(1);
  rows[0].set_node(config_.node);
  rows[0].set_address(config_.advertise.empty() ? config_.listen : config_.advertise);
  rows[0].set_connected(true);
  rows[0].set_incarnation(registry_->incarnation());
  rows[0].set_self(true);
  if (transport_ == nullptr) return rows;
  for (const PeerStatus& peer : transport_->Peers()) {
    control::NodeRow& row = rows.emplace_back();
    row.set_node(peer.node);
    row.set_address(peer.address);
    row.set_connected(peer.connected);
    row.set_incarnation(peer.incarnation);
    if (!peer.last_error.ok()) row.set_error(std::string(peer.last_error.message()));
  }
  return rows;
}

absl::Status Agent::Stop() {
  if (transport_ != nullptr) transport_->Shutdown(absl::Now() + absl::Seconds(1));
  carrier_->Stop();
  SeqpacketUnlink(config_.socket, listener_.lock);
  // Before anything is closed: an agent started after this one would find it so.
  if (vault_->keeper() != nullptr) vault_->keeper()->Leave(0).IgnoreError();
  broker_->CloseAll();
  return absl::OkStatus();
}

}  // namespace

int RunAgent(const AgentConfig& config, int keeper_fd, const std::vector<std::string>& command) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  Agent agent(config, command);
  absl::Status status = agent.Start(keeper_fd);
  if (status.ok()) {
    agent.Run();
    status = agent.Stop();
  }
  if (!status.ok()) {
    fprintf(stderr, "mailrail agent: %s\n", std::string(status.message()).c_str());
  }
  // The parts end with the process: threads of gRPC may still run.
  _exit(ExitCode(status));
}

}  // namespace mailrail
