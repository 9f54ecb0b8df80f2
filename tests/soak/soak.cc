#include "tests/soak/soak.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mailrail/mailrail.h"
#include "tests/support/eventually.h"
#include "tests/support/require.h"

namespace mailrail::soak {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kRoundNs = 5'000 * kMs;
constexpr int64_t kUnobservableNs = 1'000;
constexpr int64_t kLongestWaitForCallNs = 5 * kMs;
constexpr size_t kJournalEvents = size_t{1} << 19;
constexpr uint64_t kValuesPerLife = uint64_t{1} << 32;

constexpr const char* kNodes[] = {"alpha", "beta"};

// How many violations of a round are printed.
constexpr size_t kReported = 10;

Schedule::Rates WorkerRates() {
  return {.min_wait_ns = 10 * kMs,
          .max_wait_ns = 170 * kMs,
          .min_stop_ns = kMs,
          .max_stop_ns = 400 * kMs,
          .stops_of_ten = 3};
}

Schedule::Rates NodeRates() {
  return {.min_wait_ns = 100 * kMs,
          .max_wait_ns = 1500 * kMs,
          .min_stop_ns = kMs,
          .max_stop_ns = 300 * kMs,
          .stops_of_ten = 3};
}

std::atomic<Stage>* SharedStage() {
  void* const memory = mmap(nullptr, sizeof(std::atomic<Stage>), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Require(memory != MAP_FAILED, "mmap");
  return new (memory) std::atomic<Stage>(Stage::kRun);
}

}  // namespace

Soak::Soak(Cluster* cluster, uint64_t seed)
    : cluster_(cluster),
      seed_(seed),
      nodes_(cluster, {std::begin(kNodes), std::end(kNodes)}),
      mailboxes_({{1, "orders", "orders@alpha"},
                  {2, "tight", "tight@alpha"},
                  {3, "shared", "shared@alpha"},
                  {4, "work", "work@alpha", /*leases=*/true}}),
      slots_({{Role::kInboxReceiver, 0, "inbox1"},
              {Role::kInboxReceiver, 0, "inbox2"},
              {Role::kInboxReceiver, 1, "inbox3"},
              {Role::kMailboxReceiver, 0, "orders1", 0},
              {Role::kMailboxReceiver, 0, "orders2", 0},
              {Role::kMailboxReceiver, 0, "tight1", 1},
              {Role::kMailboxReceiver, 0, "tight2", 1},
              {Role::kMailboxReceiver, 0, "shared1", 2},
              {Role::kMailboxReceiver, 1, "shared2", 2},
              {Role::kMailboxReceiver, 0, "work1", 3},
              {Role::kMailboxReceiver, 0, "work2", 3},
              {Role::kSender, 0, "sender1"},
              {Role::kSender, 0, "sender2"},
              {Role::kSender, 0, "sender3"},
              {Role::kSender, 1, "sender4"}}),
      worker_strikes_(seed, slots_.size(), WorkerRates()),
      node_strikes_(seed + 1, nodes_.targets(), NodeRates()),
      next_node_strike_(node_strikes_.Next()),
      stage_(SharedStage()) {
  CreateMailboxes();
}

Soak::~Soak() {
  for (Slot& slot : slots_) {
    if (slot.pid < 0) continue;
    kill(slot.pid, SIGKILL);
    waitpid(slot.pid, nullptr, 0);
  }
  munmap(stage_, sizeof(*stage_));
}

void Soak::CreateMailboxes() {
  AttachOptions options;
  options.socket = cluster_->Socket(kNodes[0]);
  options.autostart = false;
  absl::StatusOr<Process> process = Process::Attach(options);
  Require(process.ok(), "attach");
  for (const MailboxPlan& plan : mailboxes_) {
    MailboxOptions mailbox;
    mailbox.max_message_bytes = size_t{2} << 20;
    mailbox.capacity_messages = plan.name == "tight" ? 8 : 1024;
    if (plan.leases) mailbox.lease_time = absl::Nanoseconds(kLeaseNs);
    Require(process->CreateMailbox(plan.name, mailbox).ok(), "a mailbox");
  }
}

void Soak::StartWorker(Slot* slot) {
  const uint64_t number = lives_.size() + 1;
  journals_.emplace_back(kJournalEvents);
  slot->life = lives_.size();
  slot->stopped_until_ns = 0;
  ++slot->starts;
  lives_.emplace_back();
  lives_.back().name = absl::StrCat(slot->name, "#", slot->starts);
  lives_.back().node = slot->node;
  const pid_t parent = getpid();
  slot->pid = fork();
  Require(slot->pid >= 0, "fork");
  if (slot->pid != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  BeWorker(*slot, &journals_.back(), number * kValuesPerLife);
}

void Soak::BeWorker(const Slot& slot, Journal* journal, uint64_t first_value) {
  close_range(3, ~0u, 0);
  const auto place = static_cast<uint64_t>(&slot - slots_.data());
  Orders orders;
  orders.socket = cluster_->Socket(kNodes[slot.node]);
  orders.seed = (seed_ * 1000 + place) * 1'000'003 + slot.starts;
  orders.first_value = first_value;
  orders.journal = journal;
  orders.stage = stage_;
  switch (slot.role) {
    case Role::kSender: {
      std::vector<std::string> names;
      for (const Slot& other : slots_) {
        if (other.role == Role::kInboxReceiver) {
          names.push_back(absl::StrCat(other.name, "@", kNodes[other.node]));
        }
      }
      RunSender(orders, mailboxes_, names);
      break;
    }
    case Role::kInboxReceiver:
      RunInboxReceiver(orders, slot.name);
      break;
    case Role::kMailboxReceiver:
      RunMailboxReceiver(orders, mailboxes_[slot.mailbox]);
      break;
  }
  _exit(0);
}

void Soak::AwaitCall(const Slot& slot) {
  if (slot.stopped_until_ns != 0) return;
  const Journal& journal = journals_[slot.life];
  const uint64_t before = journal.count();
  const int64_t end_ns = NowNs() + kLongestWaitForCallNs;
  while (journal.count() == before && NowNs() < end_ns) {
  }
}

void Soak::StrikeWorker(const Strike& strike) {
  Slot& slot = slots_[strike.target];
  if (strike.in_call) AwaitCall(slot);
  Note(absl::StrCat(strike.stop ? "stop " : "kill ", lives_[slot.life].name));
  if (strike.stop) {
    kill(slot.pid, SIGSTOP);
    slot.stopped_until_ns = NowNs() + strike.stop_ns;
    ++counts_.stops;
    return;
  }
  Life& life = lives_[slot.life];
  life.struck_ns = NowNs();
  kill(slot.pid, SIGKILL);
  int status = 0;
  Require(waitpid(slot.pid, &status, 0) == slot.pid, "waitpid");
  life.died_ns = NowNs();
  life.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (!life.killed) Report(absl::StrCat(life.name, " has ended by itself, status ", status));
  ++(slot.role == Role::kSender ? counts_.sender_kills : counts_.receiver_kills);
  StartWorker(&slot);
}

void Soak::StrikeNode(const Strike& strike) {
  Note(absl::StrCat(strike.stop ? "stop " : "kill ", strike.target % 2 == 0 ? "agent " : "keeper ",
                    kNodes[strike.target / 2]));
  if (strike.stop) {
    nodes_.Stop(strike.target, NowNs() + strike.stop_ns);
    ++counts_.stops;
  } else {
    nodes_.Kill(strike.target);
    ++(strike.target % 2 == 0 ? counts_.agent_kills : counts_.keeper_kills);
  }
}

void Soak::Continue() {
  nodes_.Continue();
  for (Slot& slot : slots_) {
    if (slot.stopped_until_ns == 0 || NowNs() < slot.stopped_until_ns) continue;
    kill(slot.pid, SIGCONT);
    slot.stopped_until_ns = 0;
  }
}

void Soak::RunRound() {
  journals_.clear();
  lives_.clear();
  notes_.clear();
  std::erase_if(outages_, [](const Outage& outage) { return outage.end_ns < NowNs(); });
  *stage_ = Stage::kRun;
  for (Slot& slot : slots_) StartWorker(&slot);
  // By the schedule's time, not by the clock: so a round's strikes are the same with the same seed.
  int64_t scheduled_ns = 0;
  while (scheduled_ns < kRoundNs) {
    const Strike strike = worker_strikes_.Next();
    scheduled_ns += strike.wait_ns;
    const int64_t at_ns = NowNs() + strike.wait_ns;
    while (NowNs() < at_ns) {
      Continue();
      if (NowNs() >= next_node_strike_ns_ && nodes_.Ready(next_node_strike_.target)) {
        StrikeNode(next_node_strike_);
        next_node_strike_ = node_strikes_.Next();
        next_node_strike_ns_ = NowNs() + next_node_strike_.wait_ns;
      }
      absl::SleepFor(absl::Nanoseconds(std::clamp<int64_t>(at_ns - NowNs(), 0, 2 * kMs)));
    }
    StrikeWorker(strike);
  }
  for (Slot& slot : slots_) {
    if (slot.stopped_until_ns != 0) slot.stopped_until_ns = 1;
  }
  Continue();
  if (!nodes_.Settle()) Report("a node does not answer any more");
  *stage_ = Stage::kSendersLeave;
  AwaitLeaving(/*senders=*/true);
  Drain();
  *stage_ = Stage::kReceiversLeave;
  AwaitLeaving(/*senders=*/false);
  CheckRound();
  CheckNothingIsLeft();
  ++counts_.rounds;
}

void Soak::AwaitLeaving(bool senders) {
  for (Slot& slot : slots_) {
    if ((slot.role == Role::kSender) != senders) continue;
    int status = 0;
    if (Eventually([&] { return waitpid(slot.pid, &status, WNOHANG) == slot.pid; })) {
      lives_[slot.life].left = true;
      if (status != 0) Report(absl::StrCat(lives_[slot.life].name, " ends with ", status));
    } else {
      Report(absl::StrCat(lives_[slot.life].name, " hangs"));
      kill(slot.pid, SIGKILL);
      waitpid(slot.pid, nullptr, 0);
    }
    slot.pid = -1;
  }
}

void Soak::Drain() {
  Eventually([this] {
    const Verdict verdict = Check(ReadHistory());
    return std::none_of(
        verdict.violations.begin(), verdict.violations.end(), [](const Violation& violation) {
          return violation.breach == Breach::kLost || violation.breach == Breach::kEnd;
        });
  });
  // Also what was sent by those who died before they were told.
  if (!Eventually([this] { return nodes_.LanesToMailboxes() == 0; })) {
    Report(absl::StrCat("lanes of senders that have left stay\n", nodes_.Describe()));
  }
}

History Soak::ReadHistory() {
  History history;
  for (const Outage& outage : nodes_.TakeOutages()) outages_.push_back(outage);
  history.outages = outages_;
  history.unobservable_ns = kUnobservableNs;
  for (const MailboxPlan& plan : mailboxes_) {
    history.mailboxes[plan.id] = 0;
    if (plan.leases) history.lease_ns[plan.id] = kLeaseNs;
  }
  for (size_t i = 0; i < lives_.size(); ++i) {
    history.lives.push_back(lives_[i]);
    absl::StatusOr<std::vector<Event>> events = journals_[i].Read();
    if (events.ok()) {
      history.lives.back().events = *std::move(events);
    } else {
      Report(absl::StrCat("the journal of ", lives_[i].name, ": ", events.status().ToString()));
    }
  }
  return history;
}

void Soak::CheckRound() {
  const Verdict verdict = Check(ReadHistory());
  counts_.told += verdict.told;
  counts_.received += verdict.received;
  counts_.redelivered += verdict.redelivered;
  counts_.gone_in_inboxes += verdict.gone_in_inboxes;
  counts_.gone_taken += verdict.gone_taken;
  counts_.ends_told += verdict.ends_told;
  counts_.leased += verdict.leased;
  if (!verdict.violations.empty()) {
    for (const std::string& note : notes_) absl::PrintF("[soak] %s\n", note);
  }
  for (size_t i = 0; i < verdict.violations.size(); ++i) {
    if (i < kReported) {
      Report(verdict.violations[i].text);
    } else {
      ++counts_.violations;
    }
  }
}

void Soak::CheckNothingIsLeft() {
  if (!nodes_.Settle()) return Report("a node does not answer any more");
  const std::vector<pid_t> pids = nodes_.Pids();
  if (!std::exchange(has_before_, true)) {
    before_ = Account::Take(pids);
    return;
  }
  std::string difference;
  if (!Eventually([&] {
        difference = Account::Take(pids).Difference(before_);
        return difference.empty();
      })) {
    Report(
        absl::StrCat("of keepers (0, 2) and agents (1, 3): ", difference, "\n", nodes_.Describe()));
  }
}

void Soak::Note(const std::string& what) {
  notes_.push_back(absl::StrCat("at ", NowNs(), " ", what));
}

void Soak::Report(const std::string& violation) {
  ++counts_.violations;
  ADD_FAILURE() << "seed " << seed_ << ", round " << counts_.rounds + 1 << ": " << violation;
}

}  // namespace mailrail::soak
