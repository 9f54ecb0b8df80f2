// ZeroMQ: a PAIR socket at each end, over ipc and over tcp.
#include <unistd.h>
#include <zmq.h>

#include <cstring>

#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

struct Address {
  std::string value;
};

std::shared_ptr<void> MakeAddress(bool tcp) {
  const int pid = getpid();
  auto address = std::make_shared<Address>();
  // 127.0.0.0/8 is all loopback; no other run has this pid.
  address->value = tcp ? "tcp://127." + std::to_string(pid >> 16) + "." +
                             std::to_string(pid >> 8 & 255) + "." + std::to_string(pid & 255) +
                             ":7499"
                       : "ipc:///tmp/mailrail-bench-" + std::to_string(pid);
  return address;
}

class PairEnd : public End {
 public:
  PairEnd(const std::shared_ptr<void>& prepared, Side side)
      : context_(zmq_ctx_new()), socket_(zmq_socket(context_, ZMQ_PAIR)) {
    const std::string& address = static_cast<Address*>(prepared.get())->value;
    const int wait = -1;
    zmq_setsockopt(socket_, ZMQ_LINGER, &wait, sizeof(wait));
    Require((side == Side::kFirst ? zmq_bind : zmq_connect)(socket_, address.c_str()) == 0,
            "cannot bind or connect");
    zmq_msg_init(&in_);
  }
  ~PairEnd() override {
    zmq_msg_close(&in_);
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }

  char* Claim(size_t size) override {
    zmq_msg_init_size(&out_, size);
    return static_cast<char*>(zmq_msg_data(&out_));
  }
  void Commit(size_t) override { Require(zmq_msg_send(&out_, socket_, 0) >= 0, "zmq_msg_send"); }
  std::string_view Receive() override {
    Require(zmq_msg_recv(&in_, socket_, 0) >= 0, "zmq_msg_recv");
    return {static_cast<const char*>(zmq_msg_data(&in_)), zmq_msg_size(&in_)};
  }

 private:
  void* const context_;
  void* const socket_;
  zmq_msg_t out_, in_;
};

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  const auto open = [](const std::shared_ptr<void>& prepared, Side side, size_t) {
    return std::make_unique<PairEnd>(prepared, side);
  };
  return Main(argc, argv,
              {{"zeromq-ipc", [](size_t) { return MakeAddress(false); }, open},
               {"zeromq-tcp", [](size_t) { return MakeAddress(true); }, open}});
}
