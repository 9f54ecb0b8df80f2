// NATS core: publish and subscribe through a server of its own, over TCP.
#include <nats/nats.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

struct Server {
  std::string url;
  pid_t pid = 0;
  ~Server() {
    kill(pid, SIGTERM);
    waitpid(pid, nullptr, 0);
  }
};

std::shared_ptr<void> StartServer(size_t) {
  auto server = std::make_shared<Server>();
  const int pid = getpid();
  // 127.0.0.0/8 is all loopback; no other run has this pid.
  const std::string host = "127." + std::to_string(pid >> 16) + "." +
                           std::to_string(pid >> 8 & 255) + "." + std::to_string(pid & 255);
  server->url = "nats://" + host + ":7497";
  server->pid = fork();
  if (server->pid == 0) {
    execlp("nats-server", "nats-server", "--addr", host.c_str(), "--port", "7497", "--log",
           "/dev/null", nullptr);
    _exit(127);
  }
  return server;
}

class NatsEnd : public End {
 public:
  // `at_once`: each message is written when it is published, and not gathered with others.
  NatsEnd(const std::shared_ptr<void>& prepared, Side side, size_t largest, bool at_once)
      : out_(largest), to_(side == Side::kFirst ? "there" : "back") {
    const std::string& url = static_cast<Server*>(prepared.get())->url;
    natsOptions* options = nullptr;
    natsOptions_Create(&options);
    natsOptions_SetURL(options, url.c_str());
    natsOptions_SetSendAsap(options, at_once);
    natsStatus status = NATS_ERR;
    for (int tries = 0; status != NATS_OK && tries < 1000; ++tries) {
      status = natsConnection_Connect(&connection_, options);
      if (status != NATS_OK) usleep(10'000);
    }
    natsOptions_Destroy(options);
    Require(status == NATS_OK, "no connection to the server");
    Require(natsConnection_SubscribeSync(&subscription_, connection_,
                                         side == Side::kFirst ? "back" : "there") == NATS_OK,
            "subscribe");
    natsSubscription_SetPendingLimits(subscription_, -1, -1);
    // The server knows of the subscription when this returns.
    natsConnection_Flush(connection_);
  }
  ~NatsEnd() override {
    if (in_ != nullptr) natsMsg_Destroy(in_);
    natsSubscription_Destroy(subscription_);
    natsConnection_Close(connection_);
    natsConnection_Destroy(connection_);
  }

  char* Claim(size_t) override { return out_.data(); }
  void Commit(size_t size) override {
    Require(
        natsConnection_Publish(connection_, to_, out_.data(), static_cast<int>(size)) == NATS_OK,
        "publish");
  }
  std::string_view Receive() override {
    if (in_ != nullptr) natsMsg_Destroy(in_);
    in_ = nullptr;
    Require(natsSubscription_NextMsg(&in_, subscription_, 20'000) == NATS_OK, "NextMsg");
    return {natsMsg_GetData(in_), static_cast<size_t>(natsMsg_GetDataLength(in_))};
  }

 private:
  std::vector<char> out_;
  const char* const to_;
  natsConnection* connection_ = nullptr;
  natsSubscription* subscription_ = nullptr;
  natsMsg* in_ = nullptr;
};

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  const auto open = [](bool at_once) {
    return [at_once](const std::shared_ptr<void>& prepared, Side side, size_t largest) {
      return std::make_unique<NatsEnd>(prepared, side, largest, at_once);
    };
  };
  return Main(argc, argv,
              {{"nats", StartServer, open(false)}, {"nats-at-once", StartServer, open(true)}});
}
