// The local service of an agent, to which programs that have attached and that have not say what
// the input says, with descriptors of all kinds, and write what they like into the memory that they
// were granted.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/process/agent_connection.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/one_node.h"

namespace mailrail {
namespace {

constexpr size_t kMostKept = 64;

// What is sent along: memory sealed and not, and what is none. Open for all of the program.
class Descriptors {
 public:
  static const Descriptors& Get() {
    static const Descriptors* const descriptors = new Descriptors();
    return *descriptors;
  }

  std::vector<int> Choose(Input* input) const {
    const uint32_t many = input->Below(16);
    if (many < 8) return {};
    std::vector<int> chosen;
    const size_t count = many == 8 ? 40 : many - 8;
    for (size_t i = 0; i < count; ++i) chosen.push_back(fds_[input->Below(fds_.size())].get());
    return chosen;
  }

 private:
  Descriptors() {
    fds_.push_back(CreateMemory("body", 4096).value());
    fds_.push_back(OpenReadOnly(fds_[0]).value());
    fds_.push_back(CreateMemory("large", size_t{256} << 20).value());
    fds_.push_back(Fd(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
    fds_.push_back(Fd(open("/dev/null", O_RDWR | O_CLOEXEC)));
    fds_.push_back(Fd(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    fds_.push_back(Fd(open("/", O_PATH | O_CLOEXEC)));
    fds_.push_back(Fd(eventfd(0, EFD_CLOEXEC)));
    std::pair<Fd, Fd> sockets = SeqpacketPair().value();
    fds_.push_back(std::move(sockets.first));
    fds_.push_back(std::move(sockets.second));
    int ends[2];
    Promise(pipe2(ends, O_CLOEXEC) == 0, "a pipe");
    fds_.push_back(Fd(ends[0]));
    fds_.push_back(Fd(ends[1]));
  }

  std::vector<Fd> fds_;
};

class Control {
 public:
  explicit Control(Input* input) : input_(input), node_(/*carries=*/false) {
    receiver_.ExpectToHearFrom(&sender_);
    names_ = {"",
              "q",
              "r",
              "q@alpha",
              "q@beta",
              "q@nowhere",
              "4711",
              "99999999999",
              "1.1@alpha",
              "@",
              "\xff\xfe",
              std::string(64, 'n'),
              receiver_.id().ToString(),
              absl::StrCat(receiver_.id().pid())};
  }

  void Run() {
    const size_t others = OpenDescriptors() - node_.DescriptorsKnown();
    while (!input_->empty()) Step();
    while (!connections_.empty()) Close(0);
    granted_.clear();
    node_.Settle();
    receiver_.ExpectToHearFrom(&sender_);
    sender_.ExpectToHearFrom(&receiver_);
    Promise(OpenDescriptors() - node_.DescriptorsKnown() == others,
            "the agent has the descriptors that it knows of, and no others");
  }

 private:
  void Step() {
    const uint32_t what = input_->Below(12);
    if (connections_.empty() || (what == 0 && connections_.size() < 4)) {
      connections_.push_back(node_.Connect());
      if (input_->Bool()) Attach();
      return;
    }
    switch (what) {
      case 1:
        return Send(std::string(input_->Bytes(input_->Below(64))));
      case 2:
        return Close(input_->Below(connections_.size()));
      case 3:
      case 4:
        return Read();
      case 5:
        return Spoil();
      case 6: {
        Message message;
        receiver_.Take(nullptr, &message);
        return;
      }
      default:
        return Ask();
    }
  }

  const Fd& Connection() { return connections_[input_->Below(connections_.size())]; }

  void Send(const std::string& bytes) {
    const std::vector<int> fds = Descriptors::Get().Choose(input_);
    SendPacket(Connection().get(), bytes, fds).IgnoreError();
    // Else it comes together with what is sent next.
    if (input_->Bool()) node_.Settle();
  }

  void Attach() {
    control::Request request;
    request.set_id(1);
    request.mutable_attach()->set_protocol_version(internal::kControlProtocolVersion);
    request.mutable_attach()->set_layout_version(kLayoutVersion);
    SendPacket(connections_.back().get(), request.SerializeAsString()).IgnoreError();
    node_.Settle();
  }

  std::string Name() {
    const uint32_t which = input_->Below(32);
    if (which < names_.size()) return names_[which];
    return std::string(input_->Bytes(which));
  }

  void Ask() {
    control::Request request = MakeRequest();
    request.set_id(input_->Byte());
    request.set_timeout_ms(input_->Number());
    std::string bytes = request.SerializeAsString();
    // A request that is nearly one.
    for (int flips = input_->Byte() / 64 - 2; flips > 0 && !bytes.empty(); --flips) {
      bytes[input_->Below(std::min<size_t>(bytes.size(), 256))] ^=
          static_cast<char>(input_->Byte());
    }
    Send(bytes);
  }

  control::Request MakeRequest() {
    control::Request request;
    const uint32_t call = input_->Byte();
    if (call >= 13 * 18) return MakeMailboxRequest(call - 13 * 18);
    switch (call % 18) {
      case 0:
        request.mutable_attach()->set_protocol_version(input_->Below(3));
        request.mutable_attach()->set_layout_version(kLayoutVersion - 2 + input_->Below(3));
        break;
      case 1:
        request.mutable_register_name()->set_name(Name());
        break;
      case 2:
        request.set_resolve(Name());
        break;
      case 3:
        request.set_connect_process(Name());
        request.set_link_wish(static_cast<control::LinkWish>(input_->Below(4)));
        break;
      case 4: {
        control::Watch* const watch = request.mutable_watch();
        watch->set_name(Name());
        watch->set_id(++watches_ % 4);
        watch->set_kind(static_cast<proto::SubjectKind>((watch->name().size() + watches_) % 5));
        break;
      }
      case 5:
        request.set_connect_mailbox(Name());
        break;
      case 6:
      case 7: {
        request.mutable_create_mailbox()->set_name(Name());
        proto::MailboxSpec* const spec = request.mutable_create_mailbox()->mutable_spec();
        spec->set_max_message_bytes(input_->Number());
        spec->set_capacity_messages(static_cast<uint32_t>(input_->Number()));
        const uint32_t kind = input_->Byte();
        spec->set_fixed_size(kind >= 0xe0);
        // Also one that is not known.
        spec->set_receive_policy(
            static_cast<proto::ReceivePolicy>(kind % 4 + (kind / 16 == 9 ? 4 : 0)));
        spec->set_owned(kind / 4 % 4 == 1);
        spec->set_order(static_cast<proto::MailboxOrder>(kind / 8 % 4));
        spec->set_hold_order(kind / 16 % 2 == 1);
        spec->set_distribution(static_cast<proto::Distribution>(kind / 32 % 4));
        spec->set_when_full(static_cast<proto::FullPolicy>(input_->Below(5)));
        if (kind / 64 == 2) {
          spec->set_dead_letter("q");
          spec->set_max_attempts(1);
        }
        break;
      }
      case 8:
        request.mutable_open_mailbox()->set_name(Name());
        break;
      case 9: {
        const uint64_t number = input_->Number();
        if (number % 4 == 3) {
          request.set_unwatch(number / 4);
        } else {
          request.set_close(number);
        }
        break;
      }
      case 10:
        request.set_destroy_mailbox(Name());
        break;
      case 11:
        request.mutable_post()->set_destination(Name());
        request.mutable_post()->set_priority(input_->Below(34));
        request.mutable_post()->set_body(std::string(input_->Bytes(input_->Below(16))));
        request.mutable_post()->set_memory_bytes(std::min<uint64_t>(input_->Number(), 1 << 20));
        break;
      case 12:
        request.set_notices_seen(input_->Number());
        break;
      case 13:
        request.mutable_list()->set_kind(static_cast<control::ListKind>(input_->Below(6)));
        request.mutable_list()->set_name(Name());
        request.mutable_list()->set_after(absl::StrCat(input_->Number()));
        break;
      case 14:
        request.set_ping(Name());
        break;
      case 15: {
        const std::string name = Name();
        if (name.size() % 2 == 0) {
          request.set_stat_mailbox(name);
        } else {
          request.set_purge_mailbox(name);
        }
        break;
      }
      case 16:
        request.set_find(Name());
        break;
      default:
        request.set_detach(true);
    }
    return request;
  }

  // About what is in a mailbox, and what becomes of it.
  control::Request MakeMailboxRequest(uint32_t call) {
    control::Request request;
    switch (call % 7) {
      case 0: {
        control::ExtendLease* const extend = request.mutable_extend_lease();
        extend->set_destination_id(input_->Number());
        extend->set_lane_id(input_->Number());
        extend->set_priority(input_->Below(34));
        extend->set_slot(static_cast<uint32_t>(input_->Number()));
        extend->set_sequence(input_->Number());
        extend->set_time_ms(input_->Number());
        break;
      }
      case 1: {
        const uint64_t number = input_->Number();
        if (number % 4 == 1) {
          request.set_list_subscriptions(number / 4);
        } else if (number % 4 == 3) {
          request.set_connect_subscription(number / 4);
        } else {
          request.set_look_at_mailbox(number);
        }
        break;
      }
      case 2:
        request.set_lane_expires(input_->Number());
        break;
      case 3:
        request.set_expired(input_->Number());
        break;
      case 4: {
        proto::Browse* const browse = request.mutable_browse();
        browse->set_mailbox(Name());
        browse->set_limit(static_cast<uint32_t>(input_->Number()));
        browse->set_max_body_bytes(static_cast<uint32_t>(input_->Number()));
        const uint32_t how = input_->Byte();
        browse->set_waiting_only((how & 1) != 0);
        if ((how & 2) != 0) FillPlace(browse->mutable_after());
        if ((how & 4) != 0) browse->set_dead_letters_of(Name());
        break;
      }
      case 5: {
        proto::Redrive* const redrive = request.mutable_redrive();
        redrive->set_mailbox(Name());
        redrive->set_limit(static_cast<uint32_t>(input_->Number()));
        redrive->set_token(input_->Number());
        const uint32_t how = input_->Byte();
        redrive->set_reason(how / 16);
        if ((how & 1) != 0) FillPlace(redrive->mutable_after());
        if ((how & 2) != 0) redrive->set_to(Name());
        break;
      }
      default: {
        control::Post* const post = request.mutable_post();
        post->set_destination(Name());
        post->set_body(std::string(input_->Bytes(input_->Below(16))));
        post->set_time_to_live_ms(input_->Number());
        post->set_reply_to(Name());
        post->add_headers()->set_name(std::string(input_->Bytes(input_->Below(8))));
      }
    }
    return request;
  }

  void FillPlace(proto::Place* place) {
    place->set_priority(static_cast<uint32_t>(input_->Number()));
    place->set_stamp(input_->Number());
    place->set_lane(input_->Number());
    place->set_sequence(input_->Number());
  }

  void Read() {
    absl::StatusOr<Packet> packet = ReceivePacket(Connection().get(), /*wait=*/false);
    if (!packet.ok()) return;
    control::ToProcess message;
    Promise(message.ParseFromString(packet->bytes), "the agent says what can be read");
    for (Fd& fd : packet->fds) {
      if (granted_.size() < kMostKept) granted_.push_back(std::move(fd));
    }
  }

  // Writes into memory that was granted, if it may be mapped so; or seals it.
  void Spoil() {
    if (granted_.empty()) return;
    const Fd& fd = granted_[input_->Below(granted_.size())];
    if (input_->Byte() >= 0xe0) {
      constexpr int kSeals[] = {F_SEAL_SEAL, F_SEAL_WRITE, 0x10 /* F_SEAL_FUTURE_WRITE */};
      fcntl(fd.get(), F_ADD_SEALS, kSeals[input_->Below(3)]);
      return;
    }
    constexpr size_t kBytes = 16384;
    void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED) return;
    struct stat status;
    const size_t bytes =
        fstat(fd.get(), &status) == 0 ? std::min(static_cast<size_t>(status.st_size), kBytes) : 0;
    for (uint32_t words = 1 + input_->Below(4); words > 0 && bytes > 0; --words) {
      const size_t at = size_t{8} * input_->Below(kBytes / 8) % bytes;
      const uint64_t word = input_->Number();
      memcpy(static_cast<char*>(memory) + at, &word, sizeof(word));
    }
    munmap(memory, kBytes);
  }

  void Close(size_t which) {
    control::Request request;
    request.set_detach(true);
    // Or it ends without a word, and is watched for a while.
    if (input_->Byte() < 0xc0) {
      SendPacket(connections_[which].get(), request.SerializeAsString()).IgnoreError();
    }
    connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(which));
    node_.Settle();
  }

  Input* const input_;
  OneNode node_;
  Witness receiver_{&node_};
  Witness sender_{&node_};
  std::vector<std::string> names_;
  std::vector<Fd> connections_;
  std::vector<Fd> granted_;
  uint64_t watches_ = 0;
};

}  // namespace
}  // namespace mailrail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mailrail::Descriptors::Get();
  const mailrail::NoDescriptorIsLeft none;
  mailrail::Input input(data, size);
  mailrail::Control(&input).Run();
  return 0;
}
