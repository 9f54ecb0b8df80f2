// What the programs of this folder share: each measures one way for two processes of one host to
// exchange messages, as that way's own documentation says to use it.
//
//   PROGRAM latency|throughput NAME [--size BYTES] [--seconds S] [--cores A,B]
//   PROGRAM list                      prints the names that it knows
//
// latency: a process sends a message and waits for it to come back; throughput: one sends, the
// other receives. Every body is written before it is sent and read when it has come, each to the
// last byte, and changes from message to message. The two processes are pinned to one processor
// each. Prints one line of JSON, with L before and after.
#ifndef MAILRAIL_TESTS_BENCH_HARNESS_H_
#define MAILRAIL_TESTS_BENCH_HARNESS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mailrail::bench {

enum class Side { kFirst, kSecond };

// One process's end of a channel that goes both ways. One thread at a time.
class End {
 public:
  virtual ~End() = default;

  // Where to write the next message, of `size` bytes; and sends it.
  virtual char* Claim(size_t size) = 0;
  virtual void Commit(size_t size) = 0;

  // The next message; valid until the next call.
  virtual std::string_view Receive() = 0;

  // Sends what the channel has kept back to send it with others.
  virtual void Flush() {}
};

// For channels that take and give messages as bytes: a buffer for each.
class CopyingEnd : public End {
 public:
  explicit CopyingEnd(size_t largest) : out_(largest + 64), in_(largest + 64) {}
  char* Claim(size_t) override { return out_.data(); }
  void Commit(size_t size) override { Send(out_.data(), size); }
  std::string_view Receive() override { return {in_.data(), ReceiveInto(in_.data(), in_.size())}; }

 protected:
  virtual void Send(const char* bytes, size_t size) = 0;
  virtual size_t ReceiveInto(char* bytes, size_t room) = 0;

 private:
  std::vector<char> out_, in_;
};

struct Way {
  std::string name;
  // Before the two processes are made; the result lives until both have ended.
  std::function<std::shared_ptr<void>(size_t largest)> prepare;
  // In each of the processes.
  std::function<std::unique_ptr<End>(const std::shared_ptr<void>& prepared, Side side,
                                     size_t largest)>
      open;
};

// The program's main.
int Main(int argc, char** argv, const std::vector<Way>& ways);

// Ends the program with a message unless `ok`.
void Require(bool ok, const char* what);

}  // namespace mailrail::bench

#endif  // MAILRAIL_TESTS_BENCH_HARNESS_H_
