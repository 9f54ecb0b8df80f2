// gRPC: an echo by unary calls, and by one stream that goes both ways, over TCP. The first side is
// the client. Throughput is of the stream.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <optional>
#include <semaphore>

#include "tests/bench/bench.grpc.pb.h"
#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

struct Address {
  std::string value;
};

std::shared_ptr<void> MakeAddress(size_t) {
  const int pid = getpid();
  auto address = std::make_shared<Address>();
  // 127.0.0.0/8 is all loopback; no other run has this pid.
  address->value = "127." + std::to_string(pid >> 16) + "." + std::to_string(pid >> 8 & 255) + "." +
                   std::to_string(pid & 255) + ":7498";
  return address;
}

constexpr int kLargest = 256 << 20;

class ClientEnd : public End {
 public:
  ClientEnd(const std::string& address, bool unary) : unary_(unary) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kLargest);
    channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    stub_ = Exchange::NewStub(channel_);
    Require(channel_->WaitForConnected(
                gpr_time_from_seconds(gpr_now(GPR_CLOCK_REALTIME).tv_sec + 10, GPR_CLOCK_REALTIME)),
            "no server");
    if (!unary_) stream_ = stub_->Stream(&context_);
  }
  ~ClientEnd() override {
    if (stream_ == nullptr) return;
    stream_->WritesDone();
    stream_->Finish();
  }

  char* Claim(size_t size) override {
    out_.mutable_body()->resize(size);
    return out_.mutable_body()->data();
  }
  void Commit(size_t) override {
    if (unary_) {
      grpc::ClientContext context;
      Require(stub_->Call(&context, out_, &in_).ok(), "Call");
    } else {
      Require(stream_->Write(out_), "Write");
    }
  }
  std::string_view Receive() override {
    if (!unary_) Require(stream_->Read(&in_), "Read");
    return in_.body();
  }

 private:
  const bool unary_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Exchange::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Bytes, Bytes>> stream_;
  Bytes out_, in_;
};

// The server's calls run in gRPC's threads; one at a time hands over to the thread of the end.
class ServerEnd : public End, private Exchange::Service {
 public:
  explicit ServerEnd(const std::string& address) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.SetMaxReceiveMessageSize(kLargest);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    Require(server_ != nullptr, "cannot listen");
  }
  ~ServerEnd() override {
    done_.release();
    server_->Shutdown();
  }

  char* Claim(size_t size) override {
    out_.mutable_body()->resize(size);
    return out_.mutable_body()->data();
  }
  void Commit(size_t) override {
    if (stream_ != nullptr) {
      Require(stream_->Write(out_), "Write");
    } else {
      answer_.release();
    }
  }
  std::string_view Receive() override {
    if (stream_ == nullptr) asked_.acquire();
    if (stream_ != nullptr) Require(stream_->Read(&in_), "Read");
    return in_.body();
  }

 private:
  grpc::Status Call(grpc::ServerContext*, const Bytes* in, Bytes* out) override {
    in_ = *in;
    asked_.release();
    answer_.acquire();
    *out = out_;
    return grpc::Status::OK;
  }
  grpc::Status Stream(grpc::ServerContext*,
                      grpc::ServerReaderWriter<Bytes, Bytes>* stream) override {
    stream_ = stream;
    asked_.release();
    done_.acquire();
    return grpc::Status::OK;
  }

  std::unique_ptr<grpc::Server> server_;
  grpc::ServerReaderWriter<Bytes, Bytes>* stream_ = nullptr;
  std::binary_semaphore asked_{0}, answer_{0}, done_{0};
  Bytes out_, in_;
};

auto Open(bool unary) {
  return [unary](const std::shared_ptr<void>& prepared, Side side, size_t) -> std::unique_ptr<End> {
    const std::string& address = static_cast<Address*>(prepared.get())->value;
    if (side == Side::kFirst) return std::make_unique<ClientEnd>(address, unary);
    return std::make_unique<ServerEnd>(address);
  };
}

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  return Main(argc, argv,
              {{"grpc-unary", MakeAddress, Open(true)}, {"grpc-stream", MakeAddress, Open(false)}});
}
