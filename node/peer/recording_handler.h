#ifndef MAILRAIL_NODE_PEER_RECORDING_HANDLER_H_
#define MAILRAIL_NODE_PEER_RECORDING_HANDLER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "node/peer/session.h"

namespace mailrail {

// For tests: a handler that remembers what it was told, waits for it without a limit, and checks
// that a session's calls come in order and one at a time. Thread-safe.
class RecordingHandler : public SessionHandler {
 public:
  struct Record {
    std::shared_ptr<Session> session;
    std::vector<proto::Frame> frames;
    int batches = 0;
    int writable = 0;
    bool closed = false;
    absl::Status why;
    bool busy = false;
  };

  // Called in OnBatch, outside of any lock; returns what that returns.
  std::function<bool(Session&)> during_batch = [](Session&) { return true; };

  void OnOpen(std::shared_ptr<Session> session) override {
    absl::MutexLock lock(&mu_);
    EXPECT_EQ(Find(session.get()), nullptr);
    events_.push_back(absl::StrCat("open ", Describe(*session)));
    records_.push_back(std::make_unique<Record>());
    records_.back()->session = std::move(session);
  }

  bool OnBatch(std::shared_ptr<Session> session, proto::Batch batch) override {
    Record* const record = Enter(session.get());
    const bool read_on = during_batch(*session);
    absl::MutexLock lock(&mu_);
    ++record->batches;
    for (proto::Frame& frame : *batch.mutable_frames()) {
      record->frames.push_back(std::move(frame));
    }
    record->busy = false;
    return read_on;
  }

  void OnClose(std::shared_ptr<Session> session, absl::Status why) override {
    Record* const record = Enter(session.get());
    EXPECT_FALSE(why.ok());
    absl::MutexLock lock(&mu_);
    events_.push_back(absl::StrCat("close ", Describe(*session)));
    record->closed = true;
    record->why = std::move(why);
    record->busy = false;
  }

  void OnWritable(std::shared_ptr<Session> session) override {
    Record* const record = Enter(session.get());
    absl::MutexLock lock(&mu_);
    ++record->writable;
    record->busy = false;
  }

  void OnPeerProblem(absl::string_view node, absl::Status why) override {
    absl::MutexLock lock(&mu_);
    problems_.emplace_back(node, std::move(why));
  }

  // The latest session of that kind that is open, once there is one.
  std::shared_ptr<Session> AwaitOpen(const std::string& node, proto::SessionClass session_class,
                                     bool dialed) {
    std::shared_ptr<Session> session;
    Await([&] {
      for (const auto& record : records_) {
        const Session& candidate = *record->session;
        if (!record->closed && candidate.peer_node() == node &&
            candidate.session_class() == session_class && candidate.dialed() == dialed) {
          session = record->session;
        }
      }
      return session != nullptr;
    });
    return session;
  }

  // What that session has received, once there are so many frames.
  std::vector<proto::Frame> AwaitFrames(const Session& session, size_t count) {
    std::vector<proto::Frame> frames;
    Await([&] {
      const Record* const record = Find(&session);
      if (record == nullptr || record->frames.size() < count) return false;
      frames = record->frames;
      return true;
    });
    return frames;
  }

  int Batches(const Session& session) {
    absl::MutexLock lock(&mu_);
    return Find(&session)->batches;
  }

  void AwaitWritable(const Session& session) {
    Await([&] { return Find(&session)->writable > 0; });
  }

  absl::Status AwaitClose(const Session& session) {
    absl::Status why;
    Await([&] {
      const Record* const record = Find(&session);
      why = record->why;
      return record->closed;
    });
    return why;
  }

  // The first problem with that node of that code, once there is one.
  absl::Status AwaitProblem(const std::string& node, absl::StatusCode code) {
    absl::Status why;
    Await([&] {
      for (const auto& [who, problem] : problems_) {
        if (who == node && problem.code() == code) {
          why = problem;
          return true;
        }
      }
      return false;
    });
    return why;
  }

  // "open" and "close" of each session, with the peer's node and incarnation, the class, and the
  // direction: "open beta.1 bulk from".
  std::vector<std::string> events() {
    absl::MutexLock lock(&mu_);
    return events_;
  }

  std::vector<std::pair<std::string, absl::Status>> problems() {
    absl::MutexLock lock(&mu_);
    return problems_;
  }

 private:
  static std::string Describe(const Session& session) {
    return absl::StrCat(session.peer_node(), ".", session.peer_incarnation(),
                        session.session_class() == proto::BULK ? " bulk" : " urgent",
                        session.dialed() ? " to" : " from");
  }

  Record* Enter(const Session* session) {
    absl::MutexLock lock(&mu_);
    Record* const record = Find(session);
    EXPECT_NE(record, nullptr) << "a call before OnOpen";
    EXPECT_FALSE(record->closed) << "a call after OnClose";
    EXPECT_FALSE(record->busy) << "two calls at a time";
    record->busy = true;
    return record;
  }

  Record* Find(const Session* session) {
    for (const auto& record : records_) {
      if (record->session.get() == session) return record.get();
    }
    return nullptr;
  }

  template <typename Predicate>
  void Await(Predicate predicate) {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&predicate));
  }

  absl::Mutex mu_;
  std::vector<std::unique_ptr<Record>> records_;
  std::vector<std::string> events_;
  std::vector<std::pair<std::string, absl::Status>> problems_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_RECORDING_HANDLER_H_
