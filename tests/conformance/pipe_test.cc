// What pipe.h promises of pipes and FIFOs.
#include <future>
#include <string>

#include "tests/conformance/conformance.h"

namespace mailrail {

inline const absl::Status& StatusOf(const PipeResult& result) { return result.status; }

namespace {

using absl::StatusCode;
using Call = party::PipeCall;

class PipeTest : public ConformanceTest {
 protected:
  void SetUp() override {
    ConformanceTest::SetUp();
    name_ = NewName();
  }
  static PipeResult Do(Party& party, const std::string& name, Call::What what,
                       absl::Time deadline = Patience()) {
    Call call;
    call.set_name(name);
    call.set_what(what);
    return party.CallPipe(call, deadline);
  }
  static PipeResult Write(Party& party, const std::string& name, std::string bytes,
                          absl::Time deadline = Patience()) {
    Call call;
    call.set_name(name);
    call.set_what(Call::WRITE);
    call.set_bytes(std::move(bytes));
    return party.CallPipe(call, deadline);
  }
  static PipeResult Read(Party& party, const std::string& name, uint64_t size = 1000,
                         absl::Time deadline = Patience()) {
    Call call;
    call.set_name(name);
    call.set_what(Call::READ);
    call.set_size(size);
    return party.CallPipe(call, deadline);
  }
  // So many bytes, of several reads; fewer at an end of file.
  static std::string ReadAll(Party& party, const std::string& name, size_t size) {
    std::string all;
    while (all.size() < size) {
      const PipeResult part = Read(party, name, std::min<size_t>(size - all.size(), 1 << 20));
      EXPECT_THAT(part, IsOk());
      if (!part.status.ok() || part.bytes.empty()) break;
      all += part.bytes;
    }
    return all;
  }
  // Bytes of which each says where it is.
  static std::string Bytes(size_t size, char first = 0) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(first + i / 7 + i / 1021);
    return bytes;
  }
  static absl::Time Soon() { return absl::Now() + absl::Milliseconds(100); }

  // The pipe's name in full, on the node of self() or of peer().
  void Make(Party& owner) {
    ASSERT_THAT(Do(owner, name_, Call::OPEN_READER), IsOk());
    ASSERT_THAT(Do(owner, name_, Call::CLOSE), IsOk());
  }
  std::string name_;
};

MAILRAIL_OVER_TRANSPORTS(PipeTest);

TEST_P(PipeTest, BytesAreReadInTheOrderInWhichTheyWereWritten) {
  const std::string bytes = Bytes(3000000);
  for (Party* owner : {static_cast<Party*>(&self()), &peer()}) {
    name_ = NewName();
    Make(*owner);
    ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
    ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
    std::future<PipeResult> write =
        std::async(std::launch::async, [&] { return Write(peer(), name_, bytes); });
    EXPECT_TRUE(ReadAll(self(), name_, bytes.size()) == bytes);
    const PipeResult written = write.get();
    EXPECT_THAT(written, IsOk());
    EXPECT_EQ(written.written, bytes.size());
  }
}

TEST_P(PipeTest, AReadReturnsWhatThereIs) {
  ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
  EXPECT_THAT(Read(self(), name_, 10, Soon()), HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(Write(peer(), name_, "abcdef"), IsOk());
  EXPECT_EQ(Read(self(), name_, 4).bytes, "abcd");
  EXPECT_EQ(Read(self(), name_, 4).bytes, "ef");
  EXPECT_THAT(Read(self(), name_, 0), HasCode(StatusCode::kInvalidArgument));
}

TEST_P(PipeTest, WhenTheLastWriterHasLeftTheReaderIsToldOnceBehindAllThatWasWritten) {
  const std::unique_ptr<Party> second = NewPeer();
  ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
  ASSERT_THAT(Do(*second, name_, Call::OPEN_WRITER), IsOk());
  ASSERT_THAT(Write(peer(), name_, "first"), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::CLOSE), IsOk());
  EXPECT_EQ(ReadAll(self(), name_, 5), "first");
  EXPECT_THAT(Read(self(), name_, 9, Soon()), HasCode(StatusCode::kDeadlineExceeded))
      << "there is another one";
  ASSERT_THAT(Write(*second, name_, "second"), IsOk());
  ASSERT_THAT(Do(*second, name_, Call::CLOSE), IsOk());
  EXPECT_EQ(ReadAll(self(), name_, 6), "second");
  const PipeResult end = Read(self(), name_);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end.bytes, "");
  EXPECT_THAT(Read(self(), name_, 9, Soon()), HasCode(StatusCode::kDeadlineExceeded)) << "once";
  // Whoever writes after that is read on.
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
  ASSERT_THAT(Write(peer(), name_, "third"), IsOk());
  EXPECT_EQ(Read(self(), name_).bytes, "third");
}

TEST_P(PipeTest, TheEndComesWhenTheLastWriterHasDied) {
  ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
  ASSERT_THAT(Write(peer(), name_, "all"), IsOk());
  peer().End();
  EXPECT_EQ(ReadAll(self(), name_, 100), "all");
}

TEST_P(PipeTest, WhatWasWrittenWaitsForAReaderThatComesLater) {
  Make(self());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
  for (const std::string bytes : {"very ", "early ", "indeed"}) {
    ASSERT_THAT(Write(peer(), name_, bytes), IsOk());
  }
  ASSERT_THAT(Do(peer(), name_, Call::CLOSE), IsOk());
  ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
  EXPECT_EQ(ReadAll(self(), name_, 100), "very early indeed");
}

TEST_P(PipeTest, WritesOfSeveralWritersAreReadWhole) {
  constexpr int kWrites = 40;
  const std::unique_ptr<Party> second = NewPeer();
  ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
  std::vector<std::future<void>> writers;
  for (Party* writer : {&peer(), second.get()}) {
    ASSERT_THAT(Do(*writer, name_, Call::OPEN_WRITER), IsOk());
    const char mark = writer == second.get() ? 'b' : 'a';
    writers.push_back(std::async(std::launch::async, [this, writer, mark] {
      for (int i = 0; i < kWrites; ++i) {
        ASSERT_THAT(Write(*writer, name_, std::string(kPipeAtomicBytes, mark)), IsOk());
      }
    }));
  }
  for (int i = 0; i < 2 * kWrites; ++i) {
    const std::string write = ReadAll(self(), name_, kPipeAtomicBytes);
    ASSERT_EQ(write.size(), kPipeAtomicBytes);
    ASSERT_EQ(write.find_first_not_of(write[0]), std::string::npos);
  }
  for (std::future<void>& writer : writers) writer.get();
}

TEST_P(PipeTest, AWriterWaitsForRoomAndIsToldWhenNobodyReadsAnyMore) {
  const std::string more(16 << 20, 'x');
  for (const bool dies : {false, true}) {
    const std::unique_ptr<Party> reader = NewPeer();
    name_ = NewName();
    ASSERT_THAT(Do(*reader, name_, Call::OPEN_READER), IsOk());
    ASSERT_THAT(Do(self(), name_, Call::OPEN_WRITER), IsOk());
    ASSERT_THAT(Write(self(), name_, "0"), IsOk());
    ASSERT_EQ(Read(*reader, name_).bytes, "0");
    const PipeResult full = Write(self(), name_, more, Soon());
    EXPECT_THAT(full, HasCode(StatusCode::kDeadlineExceeded));
    EXPECT_LT(full.written, more.size());
    std::future<PipeResult> waits =
        std::async(std::launch::async, [&] { return Write(self(), name_, more); });
    EXPECT_TRUE(Eventually([&] { return self().Asleep() > 0; }));
    if (dies) {
      reader->End();
    } else {
      ASSERT_THAT(Do(*reader, name_, Call::CLOSE), IsOk());
    }
    EXPECT_THAT(waits.get(), HasCode(StatusCode::kUnavailable));
    EXPECT_THAT(Write(self(), name_, "1"), HasCode(StatusCode::kUnavailable));
  }
}

TEST_P(PipeTest, AWriterOfThisNodeKnowsOfAReaderThatCameAndWentWhileItDidNotWrite) {
  Make(self());
  ASSERT_THAT(Do(self(), name_, Call::OPEN_WRITER), IsOk());
  ASSERT_THAT(Write(self(), name_, "0"), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_READER), IsOk());
  EXPECT_EQ(Read(peer(), name_).bytes, "0");
  ASSERT_THAT(Do(peer(), name_, Call::CLOSE), IsOk());
  EXPECT_TRUE(Eventually(
      [&] { return Write(self(), name_, "1").status.code() == StatusCode::kUnavailable; }));
}

TEST_P(PipeTest, AnotherReaderTakesOverWhenTheFirstHasDied) {
  const std::unique_ptr<Party> first = NewPeer();
  ASSERT_THAT(Do(*first, name_, Call::OPEN_READER), IsOk());
  ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
  ASSERT_THAT(Write(peer(), name_, "one"), IsOk());
  EXPECT_EQ(Read(*first, name_).bytes, "one");
  ASSERT_THAT(Write(peer(), name_, "two"), IsOk());
  EXPECT_THAT(Read(self(), name_, 9, Soon()), HasCode(StatusCode::kDeadlineExceeded));
  first->End();
  EXPECT_EQ(Read(self(), name_).bytes, "two");
}

TEST_P(PipeTest, WhoReadsOneThatIsDestroyedIsTold) {
  ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
  ASSERT_THAT(peer().DestroyMailbox(name_), IsOk());
  EXPECT_THAT(Read(self(), name_), HasCode(StatusCode::kUnavailable));
  EXPECT_TRUE(Eventually(
      [&] { return Write(peer(), name_, "x").status.code() == StatusCode::kUnavailable; }));
}

TEST_P(PipeTest, AMailboxIsNoPipeAndOneThatIsNotThereIsNotMadeWhereItIsToExist) {
  ASSERT_THAT(self().CreateMailbox(name_), IsOk());
  EXPECT_THAT(Do(peer(), name_, Call::OPEN_READER), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(Do(peer(), name_, Call::OPEN_WRITER), HasCode(StatusCode::kFailedPrecondition));
  Call open;
  open.set_name(NewName());
  open.set_what(Call::OPEN_READER);
  open.set_must_exist(true);
  EXPECT_THAT(peer().CallPipe(open), HasCode(StatusCode::kNotFound));
}

TEST_P(PipeTest, TheEndIsToldWhenTheAgentIsStartedAgainToo) {
  ASSERT_THAT(Do(self(), name_, Call::OPEN_READER), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_WRITER), IsOk());
  ASSERT_THAT(Write(peer(), name_, "all"), IsOk());
  KillAgent("alpha");
  ASSERT_THAT(Do(peer(), name_, Call::CLOSE), IsOk());
  EXPECT_EQ(ReadAll(self(), name_, 100), "all");
}

TEST_P(PipeTest, AFifoGoesBothWays) {
  EXPECT_THAT(Do(peer(), name_, Call::OPEN_FIFO), HasCode(StatusCode::kNotFound));
  ASSERT_THAT(Do(self(), name_, Call::CREATE_FIFO), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::OPEN_FIFO), IsOk());
  const std::string bytes = Bytes(1000000);
  std::future<PipeResult> there =
      std::async(std::launch::async, [&] { return Write(self(), name_, bytes); });
  EXPECT_TRUE(ReadAll(peer(), name_, bytes.size()) == bytes);
  EXPECT_THAT(there.get(), IsOk());
  std::future<PipeResult> back =
      std::async(std::launch::async, [&] { return Write(peer(), name_, bytes); });
  EXPECT_TRUE(ReadAll(self(), name_, bytes.size()) == bytes);
  EXPECT_THAT(back.get(), IsOk());
  ASSERT_THAT(Do(peer(), name_, Call::CLOSE), IsOk());
  const PipeResult end = Read(self(), name_);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end.bytes, "");
}

TEST_P(PipeTest, AnAnonymousPipeIsForWhoIsToldItsNameAndEndsWithItsMaker) {
  const std::unique_ptr<LocalParty> maker = NewSelf();
  ASSERT_OK_AND_ASSIGN(name, MakeAnonymousPipe(maker->process()));
  Call open;
  open.set_name(name);
  open.set_must_exist(true);
  open.set_what(Call::OPEN_READER);
  ASSERT_THAT(peer().CallPipe(open), IsOk());
  open.set_what(Call::OPEN_WRITER);
  ASSERT_THAT(self().CallPipe(open), IsOk());
  ASSERT_THAT(Write(self(), name, "secret"), IsOk());
  EXPECT_EQ(Read(peer(), name).bytes, "secret");
  maker->End();
  EXPECT_THAT(Read(peer(), name), HasCode(StatusCode::kUnavailable));
}

}  // namespace
}  // namespace mailrail
