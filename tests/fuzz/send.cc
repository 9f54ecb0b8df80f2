// A sender whose receiver writes what the input says into everything that is a receiver's: how much
// is consumed, which room and which message is done with, the bell. It can make the sender wait.
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/mailbox/outgoing_lane.h"
#include "tests/fuzz/lane_memory.h"

namespace mailrail {
namespace {

const ProcessId kSender("alpha", 1, 1);
constexpr uint32_t kNumber = 5;
// Nothing is sent at these; what would be written there was written beside its place.
constexpr int kUnused[] = {11, 13, 25, 30};

class Send {
 public:
  explicit Send(Input* input) : input_(input) {
    MailboxOptions options = kFuzzLimits;
    options.when_full = static_cast<FullPolicy>(input_->Below(4));
    if (input_->Bool()) {
      ring_ = std::make_unique<RingLane>(kSender, destination_, options);
      lane_ = ring_->sender;
    } else {
      cells_ = std::make_unique<CellLane>(kSender, kNumber, destination_, options);
      lane_ = cells_->sender;
    }
  }

  void Run() {
    while (!input_->empty()) Step();
    while (!rooms_.empty()) Commit();
    CheckUnused();
    // As a sender that is started again: it says what it cannot take up.
    TakeUpAgain();
  }

 private:
  struct Room {
    int priority;
    SlabRoom room;
    std::string body;
  };

  void Step() {
    switch (input_->Below(8)) {
      case 0:
      case 1:
        return SendOne();
      case 2:
        return SendSome();
      case 3:
        return Claim();
      case 4:
        return Commit();
      case 5:
      case 6:
        return Spoil();
      default:
        return Look();
    }
  }

  void Spoil() {
    switch (input_->Below(8)) {
      case 0:
        return ChangeWord(
            input_, reinterpret_cast<char*>(&destination_.bell()) + size_t{128} * input_->Below(3));
      case 1:
        return ChangeWord(
            input_, reinterpret_cast<char*>(&destination_.gate()) + size_t{128} * input_->Below(2));
      case 2:
        if (input_->Byte() != 0) return;
        return destination_.control().closed.store(static_cast<uint32_t>(input_->Number()));
      default:
        if (ring_) return SpoilRingReceiver(input_, ring_->receiver_map.data());
        return SpoilCellState(input_, cells_->state_map.data());
    }
  }

  void Expect(const absl::Status& status) {
    Promise(status.ok() || absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status) ||
                absl::IsUnavailable(status) || absl::IsAborted(status),
            "a sender is told to wait, or that it is closed");
  }
  // What was sent has the next number; `sent` of them, or fewer if nobody could tell them apart
  // from those that were taken back.
  void ExpectNumber(int priority, uint64_t before, uint64_t sent) {
    const uint64_t now = lane_->sequence(priority);
    Promise(now >= before && now - before <= sent, "numbers rise by one");
  }

  void SendOne() {
    const int priority = AnyPriority(input_);
    const std::string body(input_->Below(6001), 's');
    const uint64_t before = lane_->sequence(priority);
    const absl::Status status = lane_->Send(priority, {{}, body}, absl::InfinitePast());
    Expect(status);
    ExpectNumber(priority, before, 1);
    const bool may_drop = lane_->options().when_full == FullPolicy::kDropNewest;
    if (status.ok()) {
      Promise(may_drop || lane_->sequence(priority) == before + 1, "what was sent has a number");
    }
  }

  void SendSome() {
    const int priority = AnyPriority(input_);
    const std::string body(input_->Below(1000), 'b');
    const std::vector<absl::string_view> bodies(input_->Below(6), body);
    const uint64_t before = lane_->sequence(priority);
    const absl::StatusOr<size_t> sent = lane_->SendBatch(priority, bodies, absl::InfinitePast());
    Expect(sent.status());
    if (sent.ok()) Promise(*sent <= bodies.size(), "no more is sent than was given");
    ExpectNumber(priority, before, bodies.size());
  }

  void Claim() {
    const int priority = AnyPriority(input_);
    const size_t size = input_->Below(6001);
    absl::StatusOr<absl::optional<SlabRoom>> room =
        lane_->Claim(priority, size, absl::InfinitePast());
    Expect(room.status());
    if (!room.ok() || !room->has_value()) return;
    CheckRoom(**room, size);
    std::string body = SoundBody(priority, ++claimed_, size);
    body.resize(size);
    memcpy((*room)->data, body.data(), size);
    rooms_.push_back({priority, **room, std::move(body)});
  }
  void CheckRoom(const SlabRoom& room, size_t size) const {
    const uint64_t slab_bytes = ring_ ? kFuzzRing.slab_bytes : kFuzzCells.slab_bytes;
    Promise(room.offset <= slab_bytes && size <= slab_bytes - room.offset, "room is in the slab");
    for (const Room& other : rooms_) {
      Promise(room.offset >= other.room.offset + other.body.size() ||
                  other.room.offset >= room.offset + size,
              "room is given to one");
    }
  }

  // Nobody else was given the room meanwhile: what was written there stands there.
  void Commit() {
    if (rooms_.empty()) return;
    const Room room = std::move(rooms_.front());
    rooms_.pop_front();
    Promise(absl::string_view(room.room.data, room.body.size()) == room.body,
            "room that was claimed is nobody else's");
    if (input_->Bool()) return lane_->Free(room.room);
    Expect(lane_->Commit(room.priority, room.room, room.body.size(), absl::InfinitePast()));
  }

  void Look() {
    const int priority = AnyPriority(input_);
    switch (input_->Below(4)) {
      case 0:
        lane_->ParkForRoom();
        return;
      case 1:
        lane_->Drained();
        return;
      case 2:
        if (cells_) lane_->StateOf(priority, input_->Number());
        return;
      default:
        if (cells_) lane_->Retract(priority);
    }
  }

  void CheckUnused() const {
    for (const int priority : kUnused) {
      const char* const begin = ring_ ? ring_->sender_map.data() + kFuzzRing.ring_offset(priority)
                                      : cells_->data_map.data() + kFuzzCells.order_offset(priority);
      const size_t size = ring_ ? kFuzzRing.ring_bytes : kFuzzCells.block_bytes();
      Promise(absl::string_view(begin, size).find_first_not_of('\0') == absl::string_view::npos,
              "a sender writes where it sends");
    }
  }

  void TakeUpAgain() {
    const auto again =
        ring_ ? std::make_shared<OutgoingLane>("inbox", kFuzzLimits, ring_->SenderLink(),
                                               destination_.ForSender())
              : std::make_shared<OutgoingLane>(
                    "mailbox", kFuzzLimits, kFuzzCells, cells_->data.Map(Access::kReadWrite),
                    cells_->state.Map(Access::kReadWrite), kNumber, destination_.ForSender());
    const absl::Status recovered = again->Recover();
    Promise(recovered.ok() || absl::IsDataLoss(recovered), "what cannot be taken up is data loss");
    if (!recovered.ok()) return;
    for (const size_t size : {size_t{10}, size_t{3000}, size_t{6000}}) {
      Expect(again->Send(12, {{}, std::string(size, 'a')}, absl::InfinitePast()));
    }
    CheckUnused();
  }

  Input* const input_;
  FuzzDestination destination_;
  std::unique_ptr<RingLane> ring_;
  std::unique_ptr<CellLane> cells_;
  std::shared_ptr<OutgoingLane> lane_;
  std::deque<Room> rooms_;
  uint64_t claimed_ = 0;
};

}  // namespace
}  // namespace mailrail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mailrail::NoDescriptorIsLeft none;
  mailrail::Input input(data, size);
  mailrail::Send(&input).Run();
  return 0;
}
