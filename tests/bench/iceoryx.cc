// iceoryx: a publisher and a subscriber at each end, polled; needs its daemon, iox-roudi.
#include <unistd.h>

#include <thread>

#include "iceoryx_posh/popo/untyped_publisher.hpp"
#include "iceoryx_posh/popo/untyped_subscriber.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"
#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

iox::capro::ServiceDescription Service(Side from) {
  if (from == Side::kFirst) return {"mailrail", "bench", "there"};
  return {"mailrail", "bench", "back"};
}

iox::popo::PublisherOptions PublisherOptions() {
  iox::popo::PublisherOptions options;
  // Nothing is dropped: the publisher waits.
  options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
  return options;
}

iox::popo::SubscriberOptions SubscriberOptions() {
  iox::popo::SubscriberOptions options;
  options.queueCapacity = 256;
  options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
  return options;
}

class IceoryxEnd : public End {
 public:
  explicit IceoryxEnd(Side side)
      : publisher_(Service(side), PublisherOptions()),
        subscriber_(Service(side == Side::kFirst ? Side::kSecond : Side::kFirst),
                    SubscriberOptions()) {
    while (!publisher_.hasSubscribers() ||
           subscriber_.getSubscriptionState() != iox::SubscribeState::SUBSCRIBED) {
      std::this_thread::yield();
    }
  }
  ~IceoryxEnd() override { Release(); }

  char* Claim(size_t size) override {
    void* chunk = nullptr;
    while (chunk == nullptr) {
      publisher_.loan(static_cast<uint32_t>(size)).and_then([&](void* got) { chunk = got; });
    }
    return static_cast<char*>(out_ = chunk);
  }
  void Commit(size_t) override { publisher_.publish(out_); }
  std::string_view Receive() override {
    Release();
    while (in_ == nullptr) {
      subscriber_.take().and_then([&](const void* chunk) { in_ = chunk; });
    }
    return {static_cast<const char*>(in_),
            iox::mepoo::ChunkHeader::fromUserPayload(in_)->userPayloadSize()};
  }

 private:
  void Release() {
    if (in_ != nullptr) subscriber_.release(in_);
    in_ = nullptr;
  }

  iox::popo::UntypedPublisher publisher_;
  iox::popo::UntypedSubscriber subscriber_;
  void* out_ = nullptr;
  const void* in_ = nullptr;
};

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  return Main(argc, argv,
              {{"iceoryx", nullptr, [](const std::shared_ptr<void>&, Side side, size_t) {
                  const std::string name = "mailrail-bench-" + std::to_string(getpid());
                  iox::runtime::PoshRuntime::initRuntime(
                      iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name));
                  return std::make_unique<IceoryxEnd>(side);
                }}});
}
