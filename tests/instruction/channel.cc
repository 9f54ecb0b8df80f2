#include "tests/instruction/channel.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tests/support/require.h"

namespace mailrail {
namespace {

MailboxOptions Options(uint32_t capacity_messages) {
  return {.max_message_bytes = Channel::kMaxBytes, .capacity_messages = capacity_messages};
}

}  // namespace

SavedMemory::SavedMemory(const std::string& name, size_t bytes,
                         std::vector<std::pair<size_t, size_t>> used, size_t end)
    : bytes_(bytes), used_(std::move(used)), end_(end), memory_(CreateMemory(name, bytes).value()) {
  mapping_ = Map(Access::kReadWrite);
}

Mapping SavedMemory::Map(Access access) const {
  Mapping mapping = Mapping::Map(memory_, bytes_, access).value();
  Require(madvise(mapping.data(), mapping.size(), MADV_DOFORK) == 0, "madvise");
  return mapping;
}

void SavedMemory::Save() {
  saved_.clear();
  for (const auto& [offset, size] : used_) saved_.append(mapping_.data() + offset, size);
}

void SavedMemory::Restore() {
  const char* from = saved_.data();
  for (const auto& [offset, size] : used_) {
    std::memcpy(mapping_.data() + offset, from, size);
    from += size;
  }
}

bool SavedMemory::OnlyUsedIsWritten() const {
  size_t at = 0;
  const auto zero_until = [&](size_t end) {
    const char* const data = mapping_.data();
    return std::all_of(data + at, data + end, [](char byte) { return byte == 0; });
  };
  for (const auto& [offset, size] : used_) {
    if (!zero_until(offset)) return false;
    at = offset + size;
  }
  return zero_until(end_);
}

Channel::Channel(const MailboxOptions& options)
    : options_(options),
      control_(NewMemory("control", sizeof(ControlPage))),
      bell_(NewMemory("bell", sizeof(BellWords))),
      gate_(NewMemory("gate", sizeof(GateWord))),
      control_map_(control_->Map(Access::kReadWrite)),
      bell_map_(bell_->Map(Access::kReadWrite)),
      gate_map_(gate_->Map(Access::kReadWrite)) {}

SavedMemory* Channel::NewMemory(const std::string& name, size_t bytes,
                                std::vector<std::pair<size_t, size_t>> used, size_t end) {
  memories_.push_back(std::make_unique<SavedMemory>(name, bytes, std::move(used), end));
  return memories_.back().get();
}

DestinationMemory Channel::ForSender() const {
  return {control_->Map(Access::kReadOnly), bell_->Map(Access::kReadOnly),
          gate_->Map(Access::kReadWrite)};
}

void Channel::Save() {
  for (const auto& memory : memories_) memory->Save();
}

void Channel::Restore() {
  for (const auto& memory : memories_) memory->Restore();
}

bool Channel::OnlyUsedIsWritten() const {
  return std::all_of(memories_.begin(), memories_.end(),
                     [](const auto& memory) { return memory->OnlyUsedIsWritten(); });
}

void Channel::MakeLanes(size_t sender) {
  lanes_.push_back(MakeLane(sender));
  lanes_.back()->AddHandle();
  for (int spare = 0; spare < 2; ++spare) spare_lanes_.push_back(MakeLane(sender));
}

void Channel::End(size_t sender) {
  Notify([&](uint32_t version) { TellEnd(sender, version); });
}

InboxChannel::InboxChannel() : Channel(Options(kDefaultCapacityMessages)) {
  queue_.set_limits(options_);
}

size_t InboxChannel::NewSender() {
  const size_t sender = senders();
  const size_t bytes = kGeometry.memory_bytes();
  const SavedMemory* const own = NewMemory(absl::StrCat("sender ", sender), bytes,
                                           {{0, kGeometry.ring_offset(0)},
                                            {kGeometry.ring_offset(kBulk), kGeometry.ring_bytes},
                                            {kGeometry.ring_offset(kUrgent), kGeometry.ring_bytes},
                                            {kGeometry.slab_offset(), kSavedOfSlab}},
                                           kGeometry.slab_offset());
  const SavedMemory* const peer =
      NewMemory(absl::StrCat("receiver ", sender), bytes, {{0, kGeometry.ring_offset(0)}}, bytes);
  sender_ends_.push_back(std::make_shared<LinkMemory>(
      LinkMemory{kGeometry, own->Map(Access::kReadWrite), peer->Map(Access::kReadOnly)}));
  receiver_ends_.push_back(std::make_shared<LinkMemory>(
      LinkMemory{kGeometry, peer->Map(Access::kReadWrite), own->Map(Access::kReadOnly)}));
  MakeLanes(sender);
  return sender;
}

void InboxChannel::Join(size_t sender) {
  Notify([&](uint32_t version) {
    queue_.Join(std::make_shared<IncomingRing>(sender, IdOf(sender), /*same_user=*/true,
                                               receiver_ends_[sender]),
                version);
  });
}

std::unique_ptr<OutgoingLane> InboxChannel::MakeLane(size_t sender) const {
  return std::make_unique<OutgoingLane>("the inbox", options_, sender_ends_[sender], ForSender());
}

MailboxChannel::MailboxChannel()
    : Channel(Options(kCapacity)),
      victims_page_(NewMemory("page", sizeof(ControlPage))),
      victims_page_map_(victims_page_->Map(Access::kReadWrite)),
      attachment_(reinterpret_cast<const ControlPage*>(victims_page_map_.data())) {
  victims_.set_limits(options_);
  others_.set_limits(options_);
}

size_t MailboxChannel::NewSender() {
  const size_t sender = senders();
  const size_t queue_bytes = size_t{8} * kGeometry.slots;
  Lane lane;
  lane.data = NewMemory(absl::StrCat("data ", sender), kGeometry.data_bytes(),
                        {{0, 4096},
                         {kGeometry.order_offset(kBulk), kGeometry.block_bytes()},
                         {kGeometry.order_offset(kUrgent), kGeometry.block_bytes()},
                         {kGeometry.slab_offset(), kSavedOfSlab}},
                        kGeometry.slab_offset());
  lane.state = NewMemory(absl::StrCat("state ", sender), kGeometry.state_bytes(),
                         {{0, 4096},
                          {kGeometry.state_offset(kBulk), queue_bytes},
                          {kGeometry.state_offset(kUrgent), queue_bytes}},
                         kGeometry.state_bytes());
  memories_of_lanes_.push_back(lane);
  agents_lanes_.push_back(Incoming(sender));
  MakeLanes(sender);
  return sender;
}

std::unique_ptr<OutgoingLane> MailboxChannel::MakeLane(size_t sender) const {
  const Lane& memory = memories_of_lanes_[sender];
  return std::make_unique<OutgoingLane>("the mailbox", options_, kGeometry,
                                        memory.data->Map(Access::kReadWrite),
                                        memory.state->Map(Access::kReadWrite),
                                        static_cast<uint32_t>(IdOf(sender).pid()), ForSender());
}

std::shared_ptr<IncomingCells> MailboxChannel::Incoming(size_t sender) const {
  const Lane& memory = memories_of_lanes_[sender];
  return std::make_shared<IncomingCells>(
      sender, IdOf(sender), /*same_user=*/true,
      std::make_shared<const CellMemory>(CellMemory{kGeometry, memory.data->Map(Access::kReadOnly),
                                                    memory.state->Map(Access::kReadWrite)}));
}

void MailboxChannel::Join(size_t sender) {
  if (sender > 0) control().stamped.store(1);
  Notify([&](uint32_t version) {
    victims_.Join(Incoming(sender), version);
    others_.Join(Incoming(sender), version);
  });
}

void MailboxChannel::TellEnd(uint64_t lane, uint32_t version) {
  victims_.End(lane, version);
  others_.End(lane, version);
}

void MailboxChannel::DeclareGone() {
  reinterpret_cast<ControlPage*>(victims_page_map_.data())
      ->closed.store(static_cast<uint32_t>(CloseReason::kProcessGone));
}

void MailboxChannel::ReleaseClaims() {
  for (size_t sender = 0; sender < senders(); ++sender) {
    agents_reader(sender).ReleaseClaimsOf(kVictim);
  }
  RingGate(&gate());
}

}  // namespace mailrail
