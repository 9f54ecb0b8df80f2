#include "node/keeper/codec.h"

#include "absl/status/status.h"
#include "core/base/seqpacket.h"

namespace mailrail {
namespace {

constexpr size_t kNumberBytes = 4;
constexpr size_t kFixedBytes = 1 + 3 * kNumberBytes;

static_assert(kFixedBytes + kMaxKeptKeyBytes + kMaxKeptValueBytes <= kMaxPacketBytes);
static_assert(kMaxKeptFds <= kMaxPacketFds);

void AppendNumber(uint32_t number, std::string& out) {
  for (size_t i = 0; i < kNumberBytes; ++i) out.push_back(static_cast<char>(number >> (8 * i)));
}

void AppendString(absl::string_view text, std::string& out) {
  AppendNumber(static_cast<uint32_t>(text.size()), out);
  out.append(text.data(), text.size());
}

// These take what they read off the front of `in`; false when it is too short.
bool TakeNumber(absl::string_view& in, uint32_t& number) {
  if (in.size() < kNumberBytes) return false;
  number = 0;
  for (size_t i = 0; i < kNumberBytes; ++i) {
    number |= static_cast<uint32_t>(static_cast<unsigned char>(in[i])) << (8 * i);
  }
  in.remove_prefix(kNumberBytes);
  return true;
}

bool TakeString(absl::string_view& in, absl::string_view& text) {
  uint32_t size;
  if (!TakeNumber(in, size) || in.size() < size) return false;
  text = in.substr(0, size);
  in.remove_prefix(size);
  return true;
}

bool IsKind(unsigned char byte) {
  switch (static_cast<KeeperPacketKind>(byte)) {
    case KeeperPacketKind::kPut:
    case KeeperPacketKind::kPutValue:
    case KeeperPacketKind::kDrop:
    case KeeperPacketKind::kNext:
    case KeeperPacketKind::kLeave:
    case KeeperPacketKind::kDone:
    case KeeperPacketKind::kRecord:
    case KeeperPacketKind::kEnd:
      return true;
  }
  return false;
}

}  // namespace

std::string EncodeKeeperPacket(const KeeperPacket& packet) {
  std::string bytes;
  bytes.reserve(kFixedBytes + packet.key.size() + packet.value.size());
  bytes.push_back(static_cast<char>(packet.kind));
  AppendNumber(packet.number, bytes);
  AppendString(packet.key, bytes);
  AppendString(packet.value, bytes);
  return bytes;
}

absl::StatusOr<KeeperPacket> DecodeKeeperPacket(absl::string_view bytes) {
  if (bytes.empty() || !IsKind(static_cast<unsigned char>(bytes[0]))) {
    return absl::InvalidArgumentError("keeper packet of an unknown kind");
  }
  KeeperPacket packet{.kind = static_cast<KeeperPacketKind>(bytes[0])};
  bytes.remove_prefix(1);
  if (!TakeNumber(bytes, packet.number) || !TakeString(bytes, packet.key) ||
      !TakeString(bytes, packet.value) || !bytes.empty()) {
    return absl::InvalidArgumentError("keeper packet of a wrong length");
  }
  if (packet.key.size() > kMaxKeptKeyBytes || packet.value.size() > kMaxKeptValueBytes) {
    return absl::InvalidArgumentError("keeper packet exceeds the limits");
  }
  return packet;
}

}  // namespace mailrail
