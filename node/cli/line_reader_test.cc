#include "node/cli/line_reader.h"

#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrail::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LineReaderTest : public testing::Test {
 protected:
  LineReaderTest() {
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    in_.Reset(fds[0]);
    out_.Reset(fds[1]);
  }

  void Write(const std::string& text) {
    size_t done = 0;
    while (done < text.size()) {
      const ssize_t size = write(out_.get(), text.data() + done, text.size() - done);
      ASSERT_GT(size, 0);
      done += static_cast<size_t>(size);
    }
  }

  Fd in_;
  Fd out_;
};

TEST_F(LineReaderTest, WholeLinesComeAtOnceAndTheRestLater) {
  LineReader reader(in_.get(), 100);
  Write("one\ntwo\n\nthr");
  EXPECT_THAT(*reader.Next(), ElementsAre("one", "two", ""));
  Write("ee\nfour\n");
  EXPECT_THAT(*reader.Next(), ElementsAre("three", "four"));
  out_.Reset();
  EXPECT_THAT(*reader.Next(), IsEmpty());
  EXPECT_THAT(*reader.Next(), IsEmpty());
}

TEST_F(LineReaderTest, LastLineNeedsNoNewline) {
  LineReader reader(in_.get(), 100);
  Write("one\ntwo");
  out_.Reset();
  EXPECT_THAT(*reader.Next(), ElementsAre("one"));
  EXPECT_THAT(*reader.Next(), ElementsAre("two"));
  EXPECT_THAT(*reader.Next(), IsEmpty());
}

TEST_F(LineReaderTest, EmptyInputHasNoLines) {
  LineReader reader(in_.get(), 100);
  out_.Reset();
  EXPECT_THAT(*reader.Next(), IsEmpty());
}

TEST_F(LineReaderTest, LineThatIsTooLongComesAfterThoseBeforeIt) {
  LineReader reader(in_.get(), 4);
  Write("1234\n12345\nok\n");
  EXPECT_THAT(*reader.Next(), ElementsAre("1234"));
  const absl::Status status = reader.Next().status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("longer than 4 bytes"));
}

TEST_F(LineReaderTest, LineWithoutEndIsRefusedBeforeItFillsMemory) {
  LineReader reader(in_.get(), 1000);
  Write(std::string(2000, 'x'));
  EXPECT_TRUE(absl::IsInvalidArgument(reader.Next().status()));
}

TEST_F(LineReaderTest, LongLinesAndManyLinesArriveWhole) {
  constexpr int kLines = 20000;
  const std::string long_line(3 << 20, 'y');
  std::thread writer([&] {
    std::string text;
    for (int i = 0; i < kLines; ++i) absl::StrAppend(&text, "line ", i, "\n");
    Write(text);
    Write(long_line + "\nend\n");
    out_.Reset();
  });
  LineReader reader(in_.get(), 4 << 20);
  std::vector<std::string> lines;
  while (true) {
    const auto next = reader.Next();
    ASSERT_TRUE(next.ok()) << next.status();
    if (next->empty()) break;
    for (const absl::string_view line : *next) lines.emplace_back(line);
  }
  writer.join();
  ASSERT_THAT(lines, SizeIs(kLines + 2));
  EXPECT_EQ(lines[12345], "line 12345");
  EXPECT_EQ(lines[kLines], long_line);
  EXPECT_EQ(lines[kLines + 1], "end");
}

TEST_F(LineReaderTest, ReadAllTakesEverythingUpToItsLimit) {
  Write("some\nbytes");
  out_.Reset();
  EXPECT_EQ(*ReadAll(in_.get(), 10), "some\nbytes");
}

TEST_F(LineReaderTest, ReadAllRefusesWhatIsTooLarge) {
  Write("some\nbytes");
  out_.Reset();
  EXPECT_TRUE(absl::IsInvalidArgument(ReadAll(in_.get(), 9).status()));
}

TEST_F(LineReaderTest, UnreadableInputIsAnError) {
  LineReader reader(-1, 100);
  EXPECT_TRUE(absl::IsUnavailable(reader.Next().status()));
  EXPECT_TRUE(absl::IsUnavailable(ReadAll(-1, 10).status()));
}

}  // namespace
}  // namespace mailrail::cli
