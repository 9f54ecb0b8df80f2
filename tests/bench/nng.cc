// nng: a pair0 socket at each end, over ipc.
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/supplemental/util/platform.h>
#include <unistd.h>

#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

struct Address {
  std::string value;
};

class PairEnd : public End {
 public:
  PairEnd(const std::shared_ptr<void>& prepared, Side side) {
    const std::string& address = static_cast<Address*>(prepared.get())->value;
    Require(nng_pair0_open(&socket_) == 0, "nng_pair0_open");
    // As ZeroMQ has it.
    nng_socket_set_int(socket_, NNG_OPT_SENDBUF, 1000);
    nng_socket_set_int(socket_, NNG_OPT_RECVBUF, 1000);
    nng_socket_set_size(socket_, NNG_OPT_RECVMAXSZ, 0);
    if (side == Side::kFirst) {
      Require(nng_listen(socket_, address.c_str(), nullptr, 0) == 0, "nng_listen");
    } else {
      Require(nng_dial(socket_, address.c_str(), nullptr, NNG_FLAG_NONBLOCK) == 0, "nng_dial");
    }
  }
  ~PairEnd() override {
    if (in_ != nullptr) nng_msg_free(in_);
    // Closing drops what is not sent yet.
    nng_msleep(100);
    nng_close(socket_);
  }

  char* Claim(size_t size) override {
    Require(nng_msg_alloc(&out_, size) == 0, "nng_msg_alloc");
    return static_cast<char*>(nng_msg_body(out_));
  }
  void Commit(size_t) override { Require(nng_sendmsg(socket_, out_, 0) == 0, "nng_sendmsg"); }
  std::string_view Receive() override {
    if (in_ != nullptr) nng_msg_free(in_);
    Require(nng_recvmsg(socket_, &in_, 0) == 0, "nng_recvmsg");
    return {static_cast<const char*>(nng_msg_body(in_)), nng_msg_len(in_)};
  }

 private:
  nng_socket socket_;
  nng_msg* out_ = nullptr;
  nng_msg* in_ = nullptr;
};

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  return Main(argc, argv,
              {{"nng-ipc",
                [](size_t) {
                  auto address = std::make_shared<Address>();
                  address->value = "ipc:///tmp/mailrail-bench-nng-" + std::to_string(getpid());
                  return address;
                },
                [](const std::shared_ptr<void>& prepared, Side side, size_t) {
                  return std::make_unique<PairEnd>(prepared, side);
                }}});
}
