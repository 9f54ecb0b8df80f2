#include "core/message/prefix.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace mailrail {
namespace {

TEST(PrefixTest, TheSenderIsReadBackAndTheBodyIsLeft) {
  const std::string bytes = EncodePrefix({.sender = ProcessId("alpha", 4711, 3)}) + "body";
  absl::string_view payload = bytes;
  Prefix prefix;
  ASSERT_TRUE(DecodePrefix(&payload, &prefix));
  EXPECT_EQ(payload, "body");
  EXPECT_EQ(prefix.sender, ProcessId("alpha", 4711, 3));
}

TEST(PrefixTest, SequenceAndAttemptsAreReadBack) {
  Prefix written;
  written.sequence = 0x123456789abcdef0;
  written.attempts = 31;
  const std::string bytes = EncodePrefix(written) + "body";
  absl::string_view payload = bytes;
  Prefix read;
  ASSERT_TRUE(DecodePrefix(&payload, &read));
  EXPECT_EQ(payload, "body");
  EXPECT_EQ(read.sequence, written.sequence);
  EXPECT_EQ(read.attempts, written.attempts);
}

TEST(PrefixTest, NothingSetIsNoBytes) { EXPECT_EQ(EncodePrefix(Prefix()), ""); }

TEST(PrefixTest, UnknownFieldsAreSkipped) {
  const std::string bytes = std::string("\x06\x00\x77\x02xy", 6) + "body";
  absl::string_view payload = bytes;
  Prefix prefix;
  ASSERT_TRUE(DecodePrefix(&payload, &prefix));
  EXPECT_EQ(payload, "body");
  EXPECT_FALSE(prefix.sender.has_value());
}

TEST(PrefixTest, RandomBytesAreTakenOrRefusedButNeverReadBeyond) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  int refused = 0;
  for (int i = 0; i < 100000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 8);
    absl::string_view payload = bytes;
    Prefix prefix;
    refused += !DecodePrefix(&payload, &prefix);
    EXPECT_LE(payload.size(), bytes.size());
  }
  EXPECT_GT(refused, 0);
}

TEST(PrefixTest, HeadersComeAsTheyWereInTheirOrder) {
  Prefix written;
  written.headers = {{"a", "1"}, {"", ""}, {std::string(300, 'n'), std::string(3000, 'v')}};
  written.reply_to = "billing@beta";
  const std::string bytes = EncodePrefix(written) + "body";
  absl::string_view payload = bytes;
  Prefix read;
  ASSERT_TRUE(DecodeCopyOfPrefix(&payload, &read));
  EXPECT_EQ(payload, "body");
  EXPECT_EQ(read.headers, written.headers);
  EXPECT_EQ(read.reply_to, written.reply_to);
  EXPECT_FALSE(read.NeedsAgent());
}

TEST(PrefixTest, AKeyIsReadBackAndItsHashIsFoundWithoutTheRest) {
  const Prefix written = {.headers = {{"a", "1"}}, .reply_to = "billing", .key = "order 7"};
  const std::string bytes = EncodePrefix(written) + "body";
  absl::string_view payload = bytes;
  Prefix read;
  ASSERT_TRUE(DecodePrefix(&payload, &read));
  EXPECT_EQ(read.key, "order 7");
  EXPECT_TRUE(read.HasExtras());
  EXPECT_FALSE(read.NeedsAgent());
  EXPECT_EQ(KeyHashIn(bytes), KeyHash("order 7"));
  EXPECT_NE(KeyHash("order 7"), KeyHash("order 8"));
  EXPECT_EQ(KeyHashIn(EncodePrefix({.reply_to = "billing"})), 0u);
  EXPECT_EQ(KeyHashIn(""), 0u);
  // Never 0, never more than 16 bits, and never of what is not there.
  for (int i = 0; i < 200000; ++i) {
    const uint32_t hash = KeyHash(std::to_string(i));
    ASSERT_TRUE(hash != 0 && hash <= 0xffff) << i;
  }
  const std::string prefix = EncodePrefix(written);
  for (size_t size = 0; size < prefix.size(); ++size) {
    EXPECT_EQ(KeyHashIn({prefix.data(), size}), 0u);
  }
}

TEST(PrefixTest, CallsAndTimesAreReadBackAndTimesAreShifted) {
  const Prefix written = {.expires_ns = 50, .due_ns = 70, .reply_to = "billing@beta", .call = 9};
  std::string bytes = EncodePrefix(written);
  const auto read = [&bytes] {
    absl::string_view payload = bytes;
    Prefix prefix;
    EXPECT_TRUE(DecodePrefix(&payload, &prefix));
    EXPECT_EQ(prefix.reply_to, "billing@beta");
    EXPECT_EQ(prefix.call, 9u);
    return prefix;
  };
  EXPECT_EQ(read().expires_ns, 50);
  EXPECT_EQ(read().due_ns, 70);
  ShiftTimes(bytes.data(), -60);
  EXPECT_EQ(read().expires_ns, -10);
  EXPECT_EQ(read().due_ns, 10);
  // 0 is for ever, and at once.
  ShiftTimes(bytes.data(), -10);
  EXPECT_EQ(read().due_ns, 1);
  EXPECT_FALSE(written.NeedsAgent());
}

TEST(PrefixTest, WhatOnlyAnAgentMaySayIsKnown) {
  EXPECT_FALSE(Prefix({.headers = {{"a", "b"}}, .reply_to = "c"}).NeedsAgent());
  EXPECT_TRUE(Prefix({.sender = ProcessId("alpha", 4711, 3)}).NeedsAgent());
  EXPECT_TRUE(Prefix({.sequence = 1}).NeedsAgent());
  EXPECT_TRUE(Prefix({.attempts = 1}).NeedsAgent());
  EXPECT_TRUE(Prefix({.dead_letter_reason = DeadLetterReason::kAttempts}).NeedsAgent());
}

}  // namespace
}  // namespace mailrail
