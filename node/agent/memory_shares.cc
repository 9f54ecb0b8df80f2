#include "node/agent/memory_shares.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

constexpr uint32_t kAgent = 0;

// Measuring takes no more than a twentieth of the agent's time.
constexpr int kRestPerShare = 20;
constexpr absl::Duration kShortestRest = absl::Milliseconds(1);

uint64_t BytesOf(const Fd& memory) {
  struct stat status;
  return memory.valid() && fstat(memory.get(), &status) == 0
             ? static_cast<uint64_t>(status.st_blocks) * 512
             : 0;
}

// Calls `each` with the writer and the bytes of each memory of a link.
template <typename Each>
void MemoriesOf(const Link& link, const Each& each) {
  each(link.a, BytesOf(link.memory_a));
  if (link.a.Key() != link.b.Key()) each(link.b, BytesOf(link.memory_b));
}

}  // namespace

MemoryShares::MemoryShares(Options options, Loop* loop, Registry* registry)
    : options_(std::move(options)),
      loop_(loop),
      registry_(registry),
      agent_word_(std::make_shared<SharedAtomic<uint64_t>>(uint64_t{1})),
      agent_budget_(std::make_shared<Budget>("the agent", std::numeric_limits<uint64_t>::max())) {
  agent_budget_->set_granted(agent_word_, [this](uint64_t used_bytes, uint64_t wanted_bytes) {
    loop_->Post([this, used_bytes, wanted_bytes] { OnUse(kAgent, used_bytes, wanted_bytes); });
  });
  Share();
}

void MemoryShares::Grant(SharedAtomic<uint64_t>* word, uint64_t bytes) const {
  if (options_.process_bytes != 0 && word != agent_word_.get()) {
    bytes = std::min(bytes, options_.process_bytes);
  }
  word->store(std::max<uint64_t>(bytes, 1));
}

void MemoryShares::OnAttach(const LocalProcess& process) {
  const uint64_t share = newcomers_left_ / 8;
  newcomers_left_ -= share;
  Grant(&process.inbox.page()->memory_bytes, share);
  if (newcomers_left_ < newcomers_whole_ / 2) ShareSoon();
}

void MemoryShares::OnUse(uint32_t number, uint64_t used_bytes, uint64_t wanted_bytes) {
  told_[number] = used_bytes;
  if (wanted_bytes > 0) asked_.insert(number);
  ShareSoon();
}

void MemoryShares::ShareSoon() {
  if (scheduled_) return;
  scheduled_ = true;
  loop_->RunAt(std::max(not_before_, absl::Now()), [this] { Share(); });
}

uint64_t MemoryShares::Measure(Uses* uses) const {
  uint64_t total = 0;
  const auto count = [&](const Endpoint& writer, uint64_t bytes) {
    total += bytes;
    if (writer.kind != Endpoint::Kind::kProcess) {
      (*uses)[kAgent] += bytes;
    } else if (registry_->FindProcess(writer.number) != nullptr) {
      (*uses)[writer.number] += bytes;
    }
  };
  for (const auto& [id, link] : registry_->links()) MemoriesOf(*link, count);
  for (const auto& [id, lane] : registry_->lanes()) {
    count(lane->sender, BytesOf(lane->data) + BytesOf(lane->state));
  }
  for (const auto& [id, proxy] : registry_->proxies()) {
    count(Endpoint::OfAgent(), BytesOf(proxy->data) + BytesOf(proxy->state));
  }
  return total;
}

void MemoryShares::Share() {
  const absl::Time start = absl::Now();
  Uses uses;
  uint64_t total = Measure(&uses);
  // What was reserved and is not there yet counts as well, as far as it was granted.
  const auto word_of = [this](uint32_t number) -> SharedAtomic<uint64_t>* {
    if (number == kAgent) return agent_word_.get();
    const LocalProcess* const process = registry_->FindProcess(number);
    return process == nullptr ? nullptr : &process->inbox.page()->memory_bytes;
  };
  absl::erase_if(told_, [&](const auto& told) {
    SharedAtomic<uint64_t>* const word = word_of(told.first);
    if (word == nullptr) return true;
    const uint64_t reserved = std::min(told.second, word->load());
    uint64_t& used = uses[told.first];
    if (reserved > used) total += reserved - std::exchange(used, reserved);
    return false;
  });
  const uint64_t left = options_.node_bytes > total ? options_.node_bytes - total : 0;
  const uint64_t for_each = left / 8 / (registry_->processes().size() + 1);
  const uint64_t for_asker = asked_.empty() ? 0 : left / 4 / asked_.size();
  const auto grant = [&](uint32_t number) {
    Grant(word_of(number), uses[number] + for_each + (asked_.contains(number) ? for_asker : 0));
  };
  grant(kAgent);
  for (const auto& [number, process] : registry_->processes()) grant(number);
  asked_.clear();
  newcomers_whole_ = newcomers_left_ = left / 4;
  scheduled_ = false;
  const absl::Time end = absl::Now();
  not_before_ = end + std::max(kShortestRest, kRestPerShare * (end - start));
  LogWhenFull(total);
}

void MemoryShares::LogWhenFull(uint64_t total) {
  const bool full = total > options_.node_bytes / 10 * 9;
  if (full && !full_) {
    options_.log(absl::StrCat("messages take ", total >> 20, " MiB of ", options_.node_bytes >> 20,
                              " MiB of shared memory: receive what waits, or raise "
                              "--memory-bytes"));
  }
  full_ = full;
}

MemoryShares::Use MemoryShares::Of(const LocalProcess& process) const {
  Use use;
  use.limit_bytes = process.inbox.page()->memory_bytes.load();
  for (const uint64_t id : process.links) {
    const Link* const link = registry_->FindLink(id);
    if (link == nullptr) continue;
    MemoriesOf(*link, [&](const Endpoint& writer, uint64_t bytes) {
      if (writer.kind == Endpoint::Kind::kProcess && writer.number == process.number) {
        use.used_bytes += bytes;
      }
    });
  }
  for (const uint64_t id : process.lanes) {
    const MailboxLane* const lane = registry_->FindLane(id);
    if (lane != nullptr) use.used_bytes += BytesOf(lane->data) + BytesOf(lane->state);
  }
  return use;
}

}  // namespace mailrail
