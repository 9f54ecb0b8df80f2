#include "node/keeper/codec.h"

#include <random>
#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace mailrail {
namespace {

TEST(KeeperCodec, DecodingGivesWhatWasEncoded) {
  const std::string value("a\0b\xff", 4);
  const std::string bytes = EncodeKeeperPacket({.kind = KeeperPacketKind::kPut,
                                                .number = 0xfedcba98,
                                                .key = "process/4711",
                                                .value = value});
  absl::StatusOr<KeeperPacket> packet = DecodeKeeperPacket(bytes);
  ASSERT_TRUE(packet.ok()) << packet.status();
  EXPECT_EQ(packet->kind, KeeperPacketKind::kPut);
  EXPECT_EQ(packet->number, 0xfedcba98);
  EXPECT_EQ(packet->key, "process/4711");
  EXPECT_EQ(packet->value, value);
}

TEST(KeeperCodec, LargestRecordIsWithinTheLimits) {
  const std::string key(kMaxKeptKeyBytes, 'k');
  const std::string value(kMaxKeptValueBytes, 'v');
  const std::string bytes =
      EncodeKeeperPacket({.kind = KeeperPacketKind::kRecord, .key = key, .value = value});
  absl::StatusOr<KeeperPacket> packet = DecodeKeeperPacket(bytes);
  ASSERT_TRUE(packet.ok()) << packet.status();
  EXPECT_EQ(packet->value.size(), kMaxKeptValueBytes);
}

TEST(KeeperCodec, PacketBeyondTheLimitsIsRefused) {
  const std::string key(kMaxKeptKeyBytes + 1, 'k');
  const std::string value(kMaxKeptValueBytes + 1, 'v');
  for (const KeeperPacket& packet :
       {KeeperPacket{.kind = KeeperPacketKind::kPut, .key = key},
        KeeperPacket{.kind = KeeperPacketKind::kPut, .value = value}}) {
    EXPECT_EQ(DecodeKeeperPacket(EncodeKeeperPacket(packet)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(KeeperCodec, EveryTruncationAndTrailingByteIsRefused) {
  const std::string bytes =
      EncodeKeeperPacket({.kind = KeeperPacketKind::kPut, .key = "key", .value = "value"});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeKeeperPacket(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeKeeperPacket(bytes + '\0').ok());
}

TEST(KeeperCodec, UnknownKindIsRefused) {
  std::string bytes = EncodeKeeperPacket({.kind = KeeperPacketKind::kEnd});
  for (int kind : {0, 6, 63, 67, 255}) {
    bytes[0] = static_cast<char>(kind);
    EXPECT_FALSE(DecodeKeeperPacket(bytes).ok()) << kind;
  }
}

TEST(KeeperCodec, ChangedBytesAreRefusedOrStayWithinTheLimits) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::string original =
      EncodeKeeperPacket({.kind = KeeperPacketKind::kPut, .key = "key", .value = "value"});
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = original;
    for (unsigned i = 0; i < 1 + random() % 4; ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    absl::StatusOr<KeeperPacket> packet = DecodeKeeperPacket(bytes);
    if (!packet.ok()) continue;
    EXPECT_EQ(packet->key.size() + packet->value.size(), 8u);
  }
}

}  // namespace
}  // namespace mailrail
