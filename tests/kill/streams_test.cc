// The victim writes to a pipe, or reads it; publishes a shared value, or reads one.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/fd.h"
#include "mailrail/shared_value.h"
#include "tests/kill/driver.h"
#include "tests/kill/holds.h"

namespace mailrail {
namespace {

constexpr char kPipe[] = "kill.pipe";

// Write `number`: its length and bytes follow from it.
std::string WriteOf(uint64_t number) {
  std::string bytes = absl::StrCat("<", number, ":");
  bytes.append(number % 3 == 2 ? 20000 : 50, static_cast<char>('a' + number % 26));
  return bytes + ">";
}

// The numbers of the writes that `bytes` are, or -1 for what is none.
std::vector<int64_t> NumbersOf(const std::string& bytes, uint64_t up_to) {
  std::vector<int64_t> numbers;
  for (size_t at = 0; at < bytes.size();) {
    bool found = false;
    for (uint64_t number = 1; number <= up_to && !found; ++number) {
      const std::string write = WriteOf(number);
      found = bytes.compare(at, write.size(), write) == 0;
      if (!found) continue;
      numbers.push_back(static_cast<int64_t>(number));
      at += write.size();
    }
    if (found) continue;
    numbers.push_back(-1);
    break;
  }
  return numbers;
}

// Those who live on own the pipe; it goes with the case.
class Pipes : public Scenario {
 public:
  explicit Pipes(World* world) : Scenario(world) {}
  ~Pipes() override {
    if (!made_) return;
    EXPECT_TRUE(world_.peer().DestroyMailbox(kPipe).ok());
  }

 protected:
  // In the driver, before the fork.
  void Make() {
    reader_ = std::make_unique<PipeReader>(PipeReader::Open(world_.other(), kPipe).value());
    made_ = true;
  }
  // Reads until `enough`; what was read is all in `bytes_`.
  void ReadUntil(absl::FunctionRef<bool()> enough) {
    Soon([&] {
      if (enough()) return true;
      const absl::StatusOr<absl::string_view> read = reader_->ReadView(absl::InfinitePast());
      if (!read.ok()) {
        EXPECT_TRUE(absl::IsDeadlineExceeded(read.status())) << read.status();
        return HasFailure();
      }
      if (read->empty()) ++ends_;
      absl::StrAppend(&bytes_, *read);
      return false;
    });
  }
  static bool HasFailure() { return ::testing::Test::HasFailure(); }

  std::unique_ptr<PipeReader> reader_;
  std::string bytes_;
  int ends_ = 0;  // how often end of file was told

 private:
  bool made_ = false;
};

class WritesToPipe : public Pipes {
 public:
  explicit WritesToPipe(World* world) : Pipes(world) { Make(); }

  void Prepare() override {
    Attach();
    writer_ = Must(PipeWriter::Open(*process_, kPipe, {.create = false}));
    Write();
  }
  void Act() override {
    for (int i = 0; i < 3; ++i) Write();
  }
  void Finish() override { Write(); }
  void Leave() override {
    writer_.reset();
    Scenario::Leave();
  }

  void During(bool killed) override {
    Scenario::During(killed);
    // What it was told OK for can be read at once.
    ReadUntil([this] { return Numbers().size() >= page().told; });
    ExpectWhole();
  }
  void After(bool killed) override {
    ReadUntil([this] { return ends_ > 0; });
    EXPECT_EQ(ends_, 1);
    ExpectWhole();
    EXPECT_TRUE(killed || page().told == page().attempted);
    // Others write on.
    bytes_.clear();
    PipeWriter peer = PipeWriter::Open(world_.peer(), kPipe, {.create = false}).value();
    EXPECT_TRUE(peer.Write(WriteOf(1), GoOnDeadline()).ok());
    ReadUntil([this] { return !bytes_.empty(); });
    EXPECT_EQ(bytes_, WriteOf(1));
  }

 private:
  void Write() {
    const uint64_t number = ++page().attempted;
    const absl::Status status = writer_->Write(WriteOf(number), GoOnDeadline());
    if (!status.ok()) Victim::Fail(status.ToString());
    page().told = number;
  }
  std::vector<int64_t> Numbers() const { return NumbersOf(bytes_, page().attempted); }
  // All that it was told OK for, and maybe one more, in order.
  void ExpectWhole() const {
    const std::vector<int64_t> numbers = Numbers();
    EXPECT_GE(numbers.size(), page().told);
    EXPECT_LE(numbers.size(), page().attempted);
    for (size_t i = 0; i < numbers.size(); ++i) {
      EXPECT_EQ(numbers[i], static_cast<int64_t>(i + 1)) << "a write is torn, lost or doubled";
    }
  }

  std::unique_ptr<PipeWriter> writer_;
};

MAILRAIL_KILL_SCENARIO(WriteToPipe, WritesToPipe);

class ReadsPipe : public Pipes {
 public:
  using Pipes::Pipes;
  static constexpr uint64_t kBefore = 5, kWrites = 8;

  void Prepare() override {
    Attach();
    victims_ = Must(PipeReader::Open(*process_, kPipe));
  }
  void Act() override {
    for (int i = 0; i < 3; ++i) Read();
  }
  void Finish() override { Read(); }
  void Leave() override {
    victims_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    Make();
    writer_ = std::make_unique<PipeWriter>(
        PipeWriter::Open(world_.peer(), kPipe, {.create = false}).value());
    while (written_ < kBefore) Write();
  }
  // Whoever writes waits for no reader, but for room.
  void During(bool killed) override {
    Scenario::During(killed);
    while (written_ < kWrites) Write();
  }
  // The next reader takes over.
  void After(bool killed) override {
    writer_.reset();
    ReadUntil([this] { return ends_ > 0; });
    const std::vector<int64_t> numbers = NumbersOf(bytes_, written_);
    const int64_t first = numbers.empty() ? static_cast<int64_t>(written_) + 1 : numbers[0];
    for (size_t i = 0; i < numbers.size(); ++i) {
      EXPECT_EQ(numbers[i], first + static_cast<int64_t>(i)) << "a write is torn, lost or doubled";
    }
    // At most the one that it was reading is lost.
    const auto had = static_cast<int64_t>(page().told);
    EXPECT_GT(first, had) << "what the victim has read comes again";
    EXPECT_LE(first, had + 1 + (killed ? 1 : 0)) << "more is lost";
  }

 private:
  void Write() { EXPECT_TRUE(writer_->Write(WriteOf(++written_), GoOnDeadline()).ok()); }
  void Read() {
    const absl::StatusOr<absl::string_view> bytes = victims_->ReadView(GoOnDeadline());
    if (!bytes.ok()) Victim::Fail(bytes.status().ToString());
    if (*bytes != WriteOf(page().told + 1)) Victim::Fail("another write");
    ++page().told;
  }

  std::unique_ptr<PipeReader> victims_;
  std::unique_ptr<PipeWriter> writer_;
  uint64_t written_ = 0;
};

MAILRAIL_KILL_SCENARIO(ReadPipe, ReadsPipe);

// Versions whose words are all their number.
struct Words {
  uint64_t words[4];
  static Words Of(uint64_t number) { return {{number, number, number, number}}; }
  bool Whole() const {
    return std::all_of(words, words + 4, [this](uint64_t word) { return word == words[0]; });
  }
};
using Value = SharedValue<Words>;

// The descriptors of another process's value, which it has said in its page.
absl::StatusOr<Value> OpenOf(pid_t pid, const std::atomic<uint64_t>* descriptors) {
  const auto open_one = [pid](uint64_t descriptor, int how) {
    return Fd(open(absl::StrCat("/proc/", pid, "/fd/", descriptor).c_str(), how | O_CLOEXEC));
  };
  const Fd value = open_one(descriptors[0], O_RDONLY), bell = open_one(descriptors[1], O_RDWR);
  return Value::FromDescriptors({.value = value.get(), .bell = bell.get()});
}

class Publishes : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    value_ = Must(Value::CreateAnonymous());
    const SharedValueDescriptors shared = value_->Share().value();
    page().descriptors[0] = static_cast<uint64_t>(shared.value);
    page().descriptors[1] = static_cast<uint64_t>(shared.bell);
    Publish();
  }
  void Act() override {
    for (int i = 0; i < 2; ++i) Publish();
  }
  void Finish() override { Publish(); }
  void Leave() override {
    value_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    reader_ = std::make_unique<Value>(OpenOf(victim_.pid(), page().descriptors).value());
    // Somebody sleeps for the next version, whom the victim wakes.
    waits_.emplace([this] {
      do {
        newer_ = reader_->WaitNewer(1, absl::Now() + absl::Milliseconds(100)).status().code();
      } while (newer_ == absl::StatusCode::kDeadlineExceeded && !ended_);
    });
    waits_->WaitUntilAsleep();
  }
  void During(bool killed) override {
    Scenario::During(killed);
    ExpectLast();
    if (page().told > 1) {
      EXPECT_TRUE(Soon([this] { return waits_->done(); })) << "a version that nobody was told of";
    }
  }
  void After(bool killed) override {
    ExpectLast();
    EXPECT_TRUE(killed || page().told == 4);
    // Of a writer that was killed nobody says that there will be no more.
    ended_ = true;
    waits_.reset();
    EXPECT_TRUE(newer_ == absl::StatusCode::kOk || reader_->version() == 1);
  }

 private:
  void Publish() {
    const uint64_t number = ++page().attempted;
    if (!value_->Publish(Words::Of(number)).ok()) Victim::Fail("publish");
    page().told = number;
  }
  // The last that the victim has published, or maybe the one more that it was publishing, whole.
  void ExpectLast() const {
    const absl::StatusOr<Versioned<Words>> read = reader_->Read();
    EXPECT_TRUE(read.ok()) << read.status();
    if (!read.ok()) return;
    EXPECT_TRUE(read->value.Whole());
    EXPECT_EQ(read->value.words[0], read->version);
    EXPECT_GE(read->version, page().told);
    EXPECT_LE(read->version, page().attempted);
  }

  std::unique_ptr<Value> value_, reader_;
  std::atomic<absl::StatusCode> newer_ = absl::StatusCode::kUnknown;
  std::atomic<bool> ended_ = false;
  std::optional<Beside> waits_;
};

MAILRAIL_KILL_SCENARIO(PublishValue, Publishes);

// Reads, and waits for what comes next, beside a reader that does the same.
class ReadsValue : public Scenario {
 public:
  explicit ReadsValue(World* world)
      : Scenario(world), value_(std::make_unique<Value>(Value::CreateAnonymous().value())) {
    const SharedValueDescriptors shared = value_->Share().value();
    descriptors_[0] = static_cast<uint64_t>(shared.value);
    descriptors_[1] = static_cast<uint64_t>(shared.bell);
  }
  ~ReadsValue() override {
    for (const std::atomic<uint64_t>& each : descriptors_) close(static_cast<int>(each.load()));
  }

  void Prepare() override {
    Attach();
    victims_ = Must(OpenOf(getppid(), descriptors_));
  }
  void Act() override {
    Read();
    page().attempted = 1;
    Wait();
  }
  void Finish() override { Read(); }
  void Leave() override {
    victims_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    Publish();
    writes_.emplace([this] {
      Soon([this] {
        return page().struck_at_ns != 0 ||
               (page().attempted == 1 && IsStill(absl::StrCat("/proc/", victim_.pid(), "/stat")));
      });
      Publish();
    });
  }
  void During(bool killed) override {
    Scenario::During(killed);
    EXPECT_TRUE(Soon([this] { return writes_->done(); })) << "a reader keeps the writer waiting";
    Publish();
    EXPECT_EQ(value_->Read()->version, last_);
  }
  void After(bool) override {
    Publish();
    EXPECT_EQ(value_->Read()->version, last_);
  }

 private:
  void Check(const absl::StatusOr<Versioned<Words>>& read) {
    if (!read.ok()) Victim::Fail(read.status().ToString());
    if (!read->value.Whole() || read->value.words[0] != read->version) Victim::Fail("torn");
    if (read->version < page().told) Victim::Fail("a version that goes back");
    page().told = read->version;
  }
  void Read() { Check(victims_->Read()); }
  void Wait() { Check(victims_->WaitNewer(1, GoOnDeadline())); }
  void Publish() {
    ++last_;
    EXPECT_TRUE(value_->Publish(Words::Of(last_)).ok());
  }

  const std::unique_ptr<Value> value_;
  std::atomic<uint64_t> descriptors_[2];
  std::unique_ptr<Value> victims_;
  uint64_t last_ = 0;
  std::optional<Beside> writes_;
};

MAILRAIL_KILL_SCENARIO(ReadValue, ReadsValue);

}  // namespace
}  // namespace mailrail
