// One hundred thousand real messages, of mixed sizes and priorities, from three nodes into one
// mailbox; each is checked at the far end against what was sent.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"

namespace mailrail {
namespace {

constexpr int kMessages = 100000;

// FNV-1a (Fowler, Noll, Vo), 64 bits.
uint64_t Checksum(absl::string_view bytes) {
  uint64_t sum = 14695981039346656037u;
  for (const char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return sum;
}

// The texts of this machine's licenses: real input, and the same on every Debian.
std::string RealText() {
  std::string text;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/share/common-licenses")) {
    std::ifstream file(entry.path());
    text.append((std::istreambuf_iterator<char>(file)), {});
  }
  return text;
}

absl::StatusOr<Process> AttachTo(const Cluster& cluster, const std::string& node) {
  AttachOptions options;
  options.socket = cluster.Socket(node);
  options.autostart = false;
  return Process::Attach(options);
}

// Sends messages of one sender: "NUMBER CHECKSUM TEXT", numbered for each priority from 1.
void SendShare(Process* process, const std::string& text, unsigned seed, int count) {
  auto sender = process->Connect("results@alpha", Patience());
  ASSERT_TRUE(sender.ok()) << sender.status();
  std::mt19937 random(seed);
  std::array<int, kPriorityCount> numbers{};
  for (int i = 0; i < count; ++i) {
    // Mostly small, some of a few KiB, a few of hundreds.
    const size_t limit = random() % 500 == 0 ? 200000 : random() % 10 == 0 ? 8000 : 120;
    const size_t size = std::min<size_t>(random() % limit, text.size());
    const size_t at = random() % (text.size() - size + 1);
    const std::string part = text.substr(at, size);
    const int priority = static_cast<int>(random() % 4) * 9 + (random() % 2 == 0 ? 0 : 4);
    const std::string body =
        absl::StrCat(++numbers[static_cast<size_t>(priority)], " ", Checksum(part), " ", part);
    const absl::Status status = sender->Send(body, {.priority = priority}, Patience());
    ASSERT_TRUE(status.ok()) << status;
  }
}

TEST(ThreeNodesTest, OneHundredThousandMixedMessagesArriveWholeOnceAndInOrder) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  const std::string text = RealText();
  ASSERT_GT(text.size(), 100000u);
  auto cluster = Cluster::Start({"alpha", "beta", "gamma"});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  auto home = AttachTo(**cluster, "alpha");
  ASSERT_TRUE(home.ok());
  ASSERT_TRUE(home->CreateMailbox("results").ok());
  auto receiver = home->OpenMailbox("results");
  ASSERT_TRUE(receiver.ok());

  std::vector<Process> processes;
  std::vector<std::thread> senders;
  for (const char* node : {"alpha", "beta", "gamma"}) {
    auto process = AttachTo(**cluster, node);
    ASSERT_TRUE(process.ok());
    processes.push_back(*std::move(process));
  }
  for (size_t i = 0; i < processes.size(); ++i) {
    const int share = kMessages / 3 + (i == 0 ? kMessages % 3 : 0);
    senders.emplace_back(
        [&, i, share] { SendShare(&processes[i], text, seed + static_cast<unsigned>(i), share); });
  }
  std::map<std::pair<std::string, int>, int> last;
  for (int i = 0; i < kMessages; ++i) {
    const absl::StatusOr<Message> message = receiver->Receive(Patience());
    if (!message.ok()) ADD_FAILURE() << message.status() << " after " << i;
    if (!message.ok()) break;
    const std::vector<absl::string_view> parts =
        absl::StrSplit(message->body(), absl::MaxSplits(' ', 2));
    if (parts.size() != 3) ADD_FAILURE() << "torn message " << i;
    if (parts.size() != 3) break;
    EXPECT_EQ(parts[1], absl::StrCat(Checksum(parts[2])));
    int& number = last[{message->sender().ToString(), message->priority()}];
    EXPECT_EQ(parts[0], absl::StrCat(number + 1));
    EXPECT_EQ(message->sequence(), static_cast<uint64_t>(number + 1));
    ++number;
  }
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(receiver->TryReceive().status().code(), absl::StatusCode::kDeadlineExceeded);
  int sum = 0;
  for (const auto& [who, number] : last) sum += number;
  EXPECT_EQ(sum, kMessages);
}

}  // namespace
}  // namespace mailrail
