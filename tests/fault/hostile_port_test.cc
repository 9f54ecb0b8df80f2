// Whoever can reach an agent's port can send it anything: the agents and what they carry go on.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/fd.h"
#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"

namespace mailrail {
namespace {

// Sends `bytes` to "ADDRESS:PORT" and hangs up; whether it could connect.
bool Throw(const std::string& at, const std::string& bytes) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(at, ':');
  uint32_t port = 0;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  if (!absl::SimpleAtoi(parts.second, &port) ||
      inet_pton(AF_INET, parts.first.c_str(), &address.sin_addr) != 1) {
    return false;
  }
  address.sin_port = htons(static_cast<uint16_t>(port));
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return false;
  // The agent may have hung up before all of it was sent.
  (void)!send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return true;
}

absl::StatusOr<Process> AttachTo(const Cluster& cluster, const std::string& node) {
  AttachOptions options;
  options.socket = cluster.Socket(node);
  options.autostart = false;
  return Process::Attach(options);
}

TEST(HostilePortTest, RandomBytesOnThePortsTakeNothingFromAFloodBetweenThem) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  auto cluster = Cluster::Start({"alpha", "beta"});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  auto a = AttachTo(**cluster, "alpha");
  auto b = AttachTo(**cluster, "beta");
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  auto sender = a->Connect(b->id(), Patience());
  ASSERT_TRUE(sender.ok()) << sender.status();

  std::atomic<bool> done = false;
  std::thread hostile([&] {
    std::mt19937 random(seed);
    for (int i = 0; i < 400; ++i) {
      std::string bytes = i % 4 < 2 ? "" : "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
      for (size_t n = random() % 4096; n > 0; --n) bytes.push_back(static_cast<char>(random()));
      EXPECT_TRUE(Throw((*cluster)->Address(i % 2 == 0 ? "alpha" : "beta"), bytes)) << i;
    }
    done = true;
  });
  // In rounds of fewer than there is room for.
  uint64_t sent = 0;
  bool whole = true;
  while (whole && (!done || sent == 0)) {
    for (int i = 0; whole && i < 100; ++i) {
      const absl::Status status =
          sender->Send(absl::StrCat(sent + static_cast<uint64_t>(i)), {}, Patience());
      EXPECT_TRUE(status.ok()) << status;
      whole = status.ok();
    }
    for (int i = 0; whole && i < 100; ++i, ++sent) {
      const absl::StatusOr<Message> message = b->inbox().Receive(Patience());
      EXPECT_TRUE(message.ok()) << message.status() << " after " << sent;
      whole = message.ok() && message->body() == absl::StrCat(sent);
    }
  }
  hostile.join();
  EXPECT_TRUE(whole) << "after " << sent;
  EXPECT_TRUE((*cluster)->FirstAgentRuns("alpha"));
  EXPECT_TRUE((*cluster)->FirstAgentRuns("beta"));
}

}  // namespace
}  // namespace mailrail
