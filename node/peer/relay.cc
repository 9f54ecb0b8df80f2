#include "node/peer/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace mailrail {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

}  // namespace

Relay::Relay(int target_port) : target_port_(target_port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(listen(listener_, 16), 0);
  EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
  port_ = ntohs(address.sin_port);
  server_ = std::thread(&Relay::Serve, this);
}

Relay::~Relay() {
  std::vector<std::thread> pumps;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  shutdown(listener_, SHUT_RDWR);
  server_.join();
  {
    absl::MutexLock lock(&mu_);
    for (const int socket : sockets_) shutdown(socket, SHUT_RDWR);
    pumps.swap(pumps_);
  }
  for (std::thread& pump : pumps) pump.join();
  absl::MutexLock lock(&mu_);
  for (const int socket : sockets_) close(socket);
  close(listener_);
}

void Relay::FallSilent() {
  absl::MutexLock lock(&mu_);
  silent_ = true;
}

void Relay::Resume() {
  absl::MutexLock lock(&mu_);
  silent_ = false;
}

void Relay::Serve() {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const int target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(target_port_);
    EXPECT_EQ(connect(target, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    absl::MutexLock lock(&mu_);
    sockets_.insert(sockets_.end(), {client, target});
    pumps_.emplace_back(&Relay::Pump, this, client, target);
    pumps_.emplace_back(&Relay::Pump, this, target, client);
  }
}

void Relay::Pump(int from, int to) {
  char buffer[16384];
  for (;;) {
    const ssize_t got = recv(from, buffer, sizeof(buffer), 0);
    {
      const auto passing = [this]()
                               ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !silent_ || stopping_; };
      absl::MutexLock lock(&mu_, absl::Condition(&passing));
    }
    if (got <= 0) break;
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t now = send(to, buffer + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
      if (now <= 0) break;
      sent += now;
    }
  }
  shutdown(to, SHUT_WR);
}

}  // namespace mailrail
