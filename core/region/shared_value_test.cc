#include "mailrail/shared_value.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <initializer_list>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "core/base/seqpacket.h"
#include "core/lane/child_process.h"

namespace mailrail {
namespace {

using absl::StatusCode;

struct Quote {
  uint64_t number;
  uint64_t twice;
  char name[20];
};

Quote QuoteOf(uint64_t number) { return {number, 2 * number, "of something"}; }

// What another program has of a value.
class Shared {
 public:
  template <typename T>
  explicit Shared(const SharedValue<T>& value) {
    const SharedValueDescriptors descriptors = value.Share().value();
    value_ = Fd(descriptors.value);
    bell_ = Fd(descriptors.bell);
  }
  SharedValueDescriptors get() const { return {.value = value_.get(), .bell = bell_.get()}; }

 private:
  Fd value_, bell_;
};

template <typename T>
SharedValue<T> ReaderOf(const SharedValue<T>& value) {
  return SharedValue<T>::FromDescriptors(Shared(value).get()).value();
}

TEST(SharedValueTest, ReadersSeeWhatWasPublishedLast) {
  auto writer = SharedValue<Quote>::CreateAnonymous();
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(writer->writes());
  const SharedValue<Quote> reader = ReaderOf(*writer), another = ReaderOf(reader);
  EXPECT_FALSE(reader.writes());
  EXPECT_EQ(reader.version(), 0u);
  EXPECT_EQ(reader.Read().status().code(), StatusCode::kNotFound);
  for (uint64_t number = 1; number < 200; ++number) {
    ASSERT_TRUE(writer->Publish(QuoteOf(number)).ok());
    for (const auto* value :
         std::initializer_list<const SharedValue<Quote>*>{&*writer, &reader, &another}) {
      const absl::StatusOr<Versioned<Quote>> read = value->Read();
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->version, number);
      EXPECT_EQ(read->value.number, number);
      EXPECT_EQ(read->value.twice, 2 * number);
      EXPECT_STREQ(read->value.name, "of something");
      EXPECT_EQ(value->version(), number);
    }
  }
}

TEST(SharedValueTest, OnlyTheOneThatMadeItCanWrite) {
  SharedValue<Quote> writer = SharedValue<Quote>::CreateAnonymous().value();
  SharedValue<Quote> reader = ReaderOf(writer);
  EXPECT_EQ(reader.Publish(QuoteOf(1)).code(), StatusCode::kPermissionDenied);
  const Shared shared(writer);
  const int value = shared.get().value;
  EXPECT_EQ(fcntl(value, F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_NE(fcntl(value, F_GET_SEALS) & F_SEAL_FUTURE_WRITE, 0);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, value, 0), MAP_FAILED);
  void* const mapped = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, value, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_NE(mprotect(mapped, 4096, PROT_READ | PROT_WRITE), 0);
  munmap(mapped, 4096);
}

TEST(SharedValueTest, AnotherTypeIsRefused) {
  const auto writer = SharedValue<Quote>::CreateAnonymous(/*schema=*/7).value();
  const Shared shared(writer);
  EXPECT_TRUE(SharedValue<Quote>::FromDescriptors(shared.get(), 7).ok());
  EXPECT_EQ(SharedValue<Quote>::FromDescriptors(shared.get(), 8).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(SharedValue<uint64_t>::FromDescriptors(shared.get(), 7).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(SharedValueTest, DescriptorsOfSomethingElseAreRefused) {
  const auto writer = SharedValue<Quote>::CreateAnonymous().value();
  const Shared shared(writer);
  const Fd zeros = CreateMemory("zeros", 65536).value();
  const Fd reading = OpenReadOnly(zeros).value();
  const SharedValueDescriptors good = shared.get();
  const auto code = [](int value, int bell) {
    return SharedValue<Quote>::FromDescriptors({.value = value, .bell = bell}).status().code();
  };
  EXPECT_EQ(code(reading.get(), good.bell), StatusCode::kDataLoss);
  EXPECT_EQ(code(zeros.get(), good.bell), StatusCode::kDataLoss) << "it is writable";
  EXPECT_EQ(code(good.bell, good.bell), StatusCode::kDataLoss);
  EXPECT_NE(code(good.value, good.value), StatusCode::kOk);
  EXPECT_NE(code(-1, good.bell), StatusCode::kOk);
  EXPECT_NE(code(good.value, -1), StatusCode::kOk);
  EXPECT_EQ(code(good.value, good.bell), StatusCode::kOk);
}

TEST(SharedValueTest, WaitNewerReturnsAtOnceWhatIsNewer) {
  SharedValue<Quote> writer = SharedValue<Quote>::CreateAnonymous().value();
  const SharedValue<Quote> reader = ReaderOf(writer);
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(writer.Publish(QuoteOf(i)).ok());
  const auto read = reader.WaitNewer(1, absl::InfinitePast());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->version, 3u) << "not the one between";
}

TEST(SharedValueTest, WaitNewerEndsAtTheDeadline) {
  SharedValue<Quote> writer = SharedValue<Quote>::CreateAnonymous().value();
  const SharedValue<Quote> reader = ReaderOf(writer);
  EXPECT_EQ(reader.WaitNewer(0, absl::InfinitePast()).status().code(),
            StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(writer.Publish(QuoteOf(1)).ok());
  const absl::Time deadline = absl::Now() + absl::Milliseconds(120);
  EXPECT_EQ(reader.WaitNewer(1, deadline).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now(), deadline);
}

TEST(SharedValueTest, ThreadsWaitByOneHandle) {
  SharedValue<Quote> writer = SharedValue<Quote>::CreateAnonymous().value();
  const SharedValue<Quote> reader = ReaderOf(writer);
  constexpr uint64_t kVersions = 20000 / kSlowdown;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (uint64_t seen = 0; seen < kVersions;) {
        const auto read = reader.WaitNewer(seen);
        ASSERT_TRUE(read.ok()) << read.status();
        ASSERT_GT(read->version, seen);
        ASSERT_EQ(read->value.number, read->version);
        ASSERT_EQ(read->value.twice, 2 * read->version);
        seen = read->version;
      }
    });
  }
  for (uint64_t number = 1; number <= kVersions; ++number) {
    ASSERT_TRUE(writer.Publish(QuoteOf(number)).ok());
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(SharedValueTest, WhenTheWriterLetsItGoWaitsEndAndTheLastVersionStays) {
  absl::optional<SharedValue<Quote>> writer = SharedValue<Quote>::CreateAnonymous().value();
  const SharedValue<Quote> reader = ReaderOf(*writer);
  ASSERT_TRUE(writer->Publish(QuoteOf(1)).ok());
  std::thread waiting(
      [&] { EXPECT_EQ(reader.WaitNewer(2).status().code(), StatusCode::kUnavailable); });
  // A version that is there is had even so.
  SharedValue<Quote> moved = *std::move(writer);
  writer.reset();
  EXPECT_TRUE(moved.Publish(QuoteOf(1)).ok());
  EXPECT_EQ(reader.WaitNewer(1)->version, 2u);
  { const SharedValue<Quote> gone = std::move(moved); }
  waiting.join();
  EXPECT_EQ(reader.WaitNewer(1)->version, 2u);
  EXPECT_EQ(reader.WaitNewer(2).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(reader.Read()->version, 2u);
}

TEST(SharedValueTest, AReaderThatGoesEndsNothing) {
  SharedValue<Quote> writer = SharedValue<Quote>::CreateAnonymous().value();
  { const SharedValue<Quote> reader = ReaderOf(writer); }
  EXPECT_EQ(ReaderOf(writer).WaitNewer(0, absl::InfinitePast()).status().code(),
            StatusCode::kDeadlineExceeded);
}

TEST(SharedValueTest, AForkedChildReadsByDescriptors) {
  SharedValue<Quote> writer = SharedValue<Quote>::CreateAnonymous().value();
  const Shared shared(writer);
  ChildProcess child([&] {
    if (writer.version() != 0 || writer.Read().status().code() != StatusCode::kFailedPrecondition) {
      _exit(1);
    }
    if (writer.Publish(QuoteOf(1)).code() != StatusCode::kFailedPrecondition) _exit(2);
    if (writer.Share().status().code() != StatusCode::kFailedPrecondition) _exit(3);
    // The copy of the writer that goes here does not end it.
    { const SharedValue<Quote> copy = std::move(writer); }
    const auto reader = SharedValue<Quote>::FromDescriptors(shared.get()).value();
    for (uint64_t version = 0; version < 50;) version = reader.WaitNewer(version)->version;
  });
  for (int i = 1; i <= 50; ++i) ASSERT_TRUE(writer.Publish(QuoteOf(i)).ok());
  EXPECT_EQ(child.WaitForChange(), 0);
}

TEST(SharedValueTest, WhatAWriterThatWasKilledHasPublishedStays) {
  const auto [ours, its] = SeqpacketPair().value();
  ChildProcess child([&, &to = its] {
    SharedValue<Quote> writer = SharedValue<Quote>::CreateAnonymous().value();
    const Shared mine(writer);
    const int fds[] = {mine.get().value, mine.get().bell};
    if (!SendPacket(to.get(), "value, bell", fds).ok()) _exit(1);
    for (uint64_t i = 1;; ++i) {
      if (!writer.Publish(QuoteOf(i)).ok()) _exit(2);
    }
  });
  const Packet sent = ReceivePacket(ours.get(), /*wait=*/true).value();
  ASSERT_EQ(sent.fds.size(), 2u);
  const auto reader =
      SharedValue<Quote>::FromDescriptors({.value = sent.fds[0].get(), .bell = sent.fds[1].get()})
          .value();
  uint64_t version = 0;
  for (int i = 0; i < 100; ++i) version = reader.WaitNewer(version)->version;
  ASSERT_TRUE(child.Kill());
  const auto last = reader.Read();
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_GE(last->version, version);
  EXPECT_EQ(last->value.number, last->version);
  EXPECT_EQ(last->value.twice, 2 * last->version);
}

TEST(SharedValueTest, LargeValuesAreWhole) {
  using Large = std::array<uint64_t, 20000>;
  SharedValue<Large> writer = SharedValue<Large>::CreateAnonymous().value();
  const SharedValue<Large> reader = ReaderOf(writer);
  for (uint64_t round = 1; round <= 10; ++round) {
    Large large;
    large.fill(round);
    ASSERT_TRUE(writer.Publish(large).ok());
    const auto read = reader.Read();
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->value, large);
  }
}

}  // namespace
}  // namespace mailrail
