// What the kernel offers: pipes, Unix sockets, POSIX message queues.
#include <fcntl.h>
#include <mqueue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/harness.h"

namespace mailrail::bench {
namespace {

struct Descriptors {
  int out[2];  // of the first and the second side
  int in[2];
  ~Descriptors() {
    for (const int fd : {out[0], out[1], in[0], in[1]}) close(fd);
  }
};

class StreamEnd : public CopyingEnd {
 public:
  StreamEnd(const std::shared_ptr<void>& prepared, Side side, size_t largest)
      : CopyingEnd(largest), size_(largest) {
    const auto& fds = *static_cast<Descriptors*>(prepared.get());
    out_ = fds.out[side == Side::kSecond];
    in_ = fds.in[side == Side::kSecond];
  }

 protected:
  // A stream has no messages: their size is known to both.
  void Send(const char* bytes, size_t size) override {
    for (size_t done = 0; done < size;) {
      const ssize_t n = write(out_, bytes + done, size - done);
      Require(n > 0, "write");
      done += static_cast<size_t>(n);
    }
  }
  size_t ReceiveInto(char* bytes, size_t) override {
    for (size_t done = 0; done < size_;) {
      const ssize_t n = read(in_, bytes + done, size_ - done);
      Require(n > 0, "read");
      done += static_cast<size_t>(n);
    }
    return size_;
  }

 private:
  const size_t size_;
  int out_, in_;
};

class PacketEnd : public CopyingEnd {
 public:
  PacketEnd(const std::shared_ptr<void>& prepared, Side side, size_t largest)
      : CopyingEnd(largest),
        socket_(static_cast<Descriptors*>(prepared.get())->out[side == Side::kSecond]) {}

 protected:
  void Send(const char* bytes, size_t size) override {
    Require(send(socket_, bytes, size, 0) == static_cast<ssize_t>(size), "send");
  }
  size_t ReceiveInto(char* bytes, size_t room) override {
    const ssize_t n = recv(socket_, bytes, room, 0);
    Require(n >= 0, "recv");
    return static_cast<size_t>(n);
  }

 private:
  const int socket_;
};

std::shared_ptr<void> MakePipes(size_t) {
  auto fds = std::make_shared<Descriptors>();
  int there[2], back[2];
  Require(pipe(there) == 0 && pipe(back) == 0, "pipe");
  fds->out[0] = there[1];
  fds->in[1] = there[0];
  fds->out[1] = back[1];
  fds->in[0] = back[0];
  return fds;
}

std::shared_ptr<void> MakeSockets(int type, size_t largest) {
  auto fds = std::make_shared<Descriptors>();
  int ends[2];
  Require(socketpair(AF_UNIX, type, 0, ends) == 0, "socketpair");
  const int room = static_cast<int>(std::max<size_t>(4 * largest, 1 << 20));
  for (int i = 0; i < 2; ++i) {
    setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
    fds->out[i] = ends[i];
    fds->in[i] = dup(ends[i]);
  }
  return fds;
}

struct Queues {
  mqd_t queue[2];
  ~Queues() {
    for (const mqd_t one : queue) mq_close(one);
  }
};

std::shared_ptr<void> MakeQueues(size_t largest) {
  auto queues = std::make_shared<Queues>();
  for (int i = 0; i < 2; ++i) {
    const std::string name =
        "/mailrail-bench-" + std::to_string(getpid()) + "-" + std::to_string(i);
    mq_attr attributes = {};
    attributes.mq_maxmsg = 10;  // the kernel's default limit
    attributes.mq_msgsize = static_cast<long>(largest);
    queues->queue[i] = mq_open(name.c_str(), O_CREAT | O_RDWR, 0600, &attributes);
    Require(queues->queue[i] != static_cast<mqd_t>(-1), "mq_open");
    mq_unlink(name.c_str());
  }
  return queues;
}

class QueueEnd : public CopyingEnd {
 public:
  QueueEnd(const std::shared_ptr<void>& prepared, Side side, size_t largest) : CopyingEnd(largest) {
    const auto& queues = *static_cast<Queues*>(prepared.get());
    out_ = queues.queue[side == Side::kFirst];
    in_ = queues.queue[side == Side::kSecond];
  }

 protected:
  void Send(const char* bytes, size_t size) override {
    Require(mq_send(out_, bytes, size, 0) == 0, "mq_send");
  }
  size_t ReceiveInto(char* bytes, size_t room) override {
    const ssize_t n = mq_receive(in_, bytes, room, nullptr);
    Require(n >= 0, "mq_receive");
    return static_cast<size_t>(n);
  }

 private:
  mqd_t out_, in_;
};

template <typename T>
std::unique_ptr<End> Open(const std::shared_ptr<void>& prepared, Side side, size_t largest) {
  return std::make_unique<T>(prepared, side, largest);
}

}  // namespace
}  // namespace mailrail::bench

int main(int argc, char** argv) {
  using namespace mailrail::bench;
  const auto sockets = [](int type) {
    return [type](size_t largest) { return MakeSockets(type, largest); };
  };
  return Main(argc, argv,
              {{"pipe", MakePipes, Open<StreamEnd>},
               {"unix-stream", sockets(SOCK_STREAM), Open<StreamEnd>},
               {"unix-seqpacket", sockets(SOCK_SEQPACKET), Open<PacketEnd>},
               {"posix-mq", MakeQueues, Open<QueueEnd>}});
}
