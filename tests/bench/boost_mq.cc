// Boost.Interprocess: message_queue.
#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>

#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

namespace bip = boost::interprocess;

struct Queues {
  std::string name[2];
  std::unique_ptr<bip::message_queue> queue[2];
  ~Queues() {
    for (const std::string& one : name) bip::message_queue::remove(one.c_str());
  }
};

std::shared_ptr<void> MakeQueues(size_t largest) {
  auto queues = std::make_shared<Queues>();
  // About 4 MiB each, as a lane of Mailrail's.
  const size_t messages = std::clamp<size_t>((size_t{4} << 20) / largest, 16, 16384);
  for (int i = 0; i < 2; ++i) {
    queues->name[i] = "mailrail-bench-" + std::to_string(getpid()) + "-" + std::to_string(i);
    bip::message_queue::remove(queues->name[i].c_str());
    queues->queue[i] = std::make_unique<bip::message_queue>(
        bip::create_only, queues->name[i].c_str(), messages, largest);
  }
  return queues;
}

class QueueEnd : public CopyingEnd {
 public:
  QueueEnd(const std::shared_ptr<void>& prepared, Side side, size_t largest)
      : CopyingEnd(largest),
        out_(*static_cast<Queues*>(prepared.get())->queue[side == Side::kFirst]),
        in_(*static_cast<Queues*>(prepared.get())->queue[side == Side::kSecond]) {}

 protected:
  void Send(const char* bytes, size_t size) override { out_.send(bytes, size, 0); }
  size_t ReceiveInto(char* bytes, size_t room) override {
    bip::message_queue::size_type size = 0;
    unsigned priority = 0;
    in_.receive(bytes, room, size, priority);
    return size;
  }

 private:
  bip::message_queue& out_;
  bip::message_queue& in_;
};

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  return Main(argc, argv,
              {{"boost-mq", MakeQueues,
                [](const std::shared_ptr<void>& prepared, Side side, size_t largest) {
                  return std::make_unique<QueueEnd>(prepared, side, largest);
                }}});
}
