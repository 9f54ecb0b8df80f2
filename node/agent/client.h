#ifndef MAILRAIL_NODE_AGENT_CLIENT_H_
#define MAILRAIL_NODE_AGENT_CLIENT_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/fd.h"
#include "node/agent/fd_source.h"
#include "node/agent/loop.h"
#include "proto/agent.pb.h"

namespace mailrail {

// One control connection, of a program that has attached or not. What is sent goes out in order;
// notices with their descriptors only as fast as the other side reads them, because unread
// descriptors run into a limit of the kernel that all share.
//
// One thread at a time: the loop's.
class Client : public std::enable_shared_from_this<Client> {
 public:
  struct Handlers {
    std::function<void(const std::shared_ptr<Client>&, const control::Request&, std::vector<Fd>)>
        request;
    // The connection ended, or what came is no request; nothing follows.
    std::function<void(const std::shared_ptr<Client>&)> gone;
    // The notices up to this number were read.
    std::function<void(const std::shared_ptr<Client>&, uint64_t number)> seen;
  };

  Client(Fd socket, Loop* loop, Handlers handlers);
  ~Client();

  // Begins to read. `restarted`: the other side knew an agent before this one.
  void Start(bool restarted);

  // From the kernel.
  int32_t pid() const { return pid_; }
  uint32_t uid() const { return uid_; }
  // A descriptor of the process; invalid when it is gone already.
  Fd OpenPidfd() const;

  // The number of the attached process; 0 before.
  uint32_t number() const { return number_; }
  void SetNumber(uint32_t number) { number_ = number; }
  // The other side has said that it detaches.
  bool detached() const { return detached_; }
  // Rises with each connection.
  uint64_t serial() const { return serial_; }
  void SetSerial(uint64_t serial) { serial_ = serial; }
  // For the process's entry, and so for the keeper.
  Fd DuplicateSocket() const { return owned_.Duplicate(); }

  void Respond(control::Response response, std::vector<Fd> fds = {});
  void Respond(uint64_t id, const absl::Status& status);
  // `fds` is called when the notice's turn has come, and again later if it says: not now. Returns
  // the notice's number.
  uint64_t Notify(control::Notice notice, FdSource fds = nullptr);
  // How many notices of links have not gone out yet.
  size_t links_untold() const { return links_untold_; }

  // Stops reading and writing.
  void Close();

 private:
  struct Outgoing {
    std::string bytes;
    std::vector<Fd> fds;
    FdSource source;  // of the descriptors, if they are still to be opened
    bool notice;
    bool link;
  };

  void OnEvents(uint32_t events);
  void Read();
  void Flush();
  // Opens what the first goes out with; false when that cannot be done now.
  bool OpenFds(Outgoing* next);
  void Fail();

  Fd owned_;
  const int socket_;
  Loop* const loop_;
  const Handlers handlers_;
  int32_t pid_ = 0;
  uint32_t uid_ = 0;
  uint32_t number_ = 0;
  uint64_t serial_ = 0;
  bool open_ = true;
  bool detached_ = false;
  bool waiting_ = false;  // for room in the socket
  std::deque<Outgoing> outgoing_;
  bool retrying_ = false;         // a timer runs, and then descriptors are opened again
  size_t responses_waiting_ = 0;  // of these
  size_t links_untold_ = 0;       // of these
  size_t requests_pending_ = 0;
  uint64_t notices_made_ = 0;  // numbered
  uint64_t notices_sent_ = 0;
  uint64_t notices_seen_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_CLIENT_H_
