// A value of one writer: versions in buffers, and the number of the last.
#include <cstdint>

#include "core/region/snapshot_reader.h"
#include "core/region/snapshot_writer.h"
#include "core/shm/bell.h"
#include "tests/model/checked_step.h"
#include "tests/model/scenarios.h"
#include "tests/model/shared_memory.h"

namespace mailrail::model {
namespace {

constexpr uint64_t kWords = 2;
constexpr uint64_t kUntilItStreams = 64;

struct Value {
  uint64_t words[kWords];
};

Value ValueOf(uint64_t version) { return {{version, ~version}}; }

class SnapshotScenario : public Scenario {
 public:
  explicit SnapshotScenario(bool streams) : streams_(streams) {}

  void Begin() override {
    for (uint64_t i = 0; streams_ && i < kUntilItStreams; ++i) Publish();
  }

 protected:
  void Publish() {
    const Value value = ValueOf(writer_.version() + 1);
    writer_.Publish(&value);
  }
  const SnapshotReader& reader() const { return reader_; }
  SnapshotWriter& writer() { return writer_; }

 private:
  static constexpr SnapshotGeometry kGeometry = {
      .value_bytes = sizeof(Value), .schema = 0, .buffers = SnapshotGeometry::kFewestBuffers};

  const bool streams_;
  const SharedMemory data_{kGeometry.data_bytes()}, bell_{sizeof(SnapshotBell)};
  SnapshotWriter writer_{kGeometry, data_.data(), bell()};
  const SnapshotReader reader_{kGeometry, data_.data(), bell()};

  SnapshotBell* bell() const { return reinterpret_cast<SnapshotBell*>(bell_.data()); }
};

// What is read is one version, and no older one than was read before, however often its buffer is
// written meanwhile.
class Versions : public SnapshotScenario {
 public:
  using SnapshotScenario::SnapshotScenario;

  void Thread(int index) override {
    if (index == 0) {
      for (uint64_t i = 0; i < 2 * SnapshotGeometry::kFewestBuffers; ++i) Publish();
      return;
    }
    uint64_t seen = 0;
    for (int reads = 0; reads < 3; ++reads) {
      Value value;
      uint64_t version = 0;
      const SnapshotLook look = reader().Read(&value, &version);
      if (look == SnapshotLook::kNone) continue;
      Require(look == SnapshotLook::kRead, "a sound value is taken for a corrupt one");
      Require(version >= seen, "an older version is read after a newer one");
      for (uint64_t i = 0; i < kWords; ++i) {
        Require(value.words[i] == ValueOf(version).words[i], "a version is torn");
      }
      seen = version;
    }
  }
};

// Nobody sleeps beside a version, or an end; and who sees the end sees the last version. Without
// the end's ring, a lost one of a version would not show; so there are two of these.
class Waits : public SnapshotScenario {
 public:
  Waits(bool streams, bool ends) : SnapshotScenario(streams), ends_(ends) {}

  void Thread(int index) override {
    if (index == 0) {
      for (uint64_t i = 0; i < kVersions; ++i) Publish();
      if (ends_) writer().End();
    } else {
      Wait();
    }
  }
  void End() override {
    if (word_.word == nullptr || word_.word->load() != word_.expected) return;
    Require(seen_ == writer().version() && !ends_, "a reader sleeps beside a version or the end");
  }

 private:
  static constexpr uint64_t kVersions = 2;

  void Wait() {
    Parker parker = reader().MakeParker();
    for (int parks = 0; parks < 4; ++parks) {
      if (reader().ended()) {
        Require(reader().latest() == kVersions, "the end is seen before the last version");
        return;
      }
      seen_ = reader().latest();
      const FutexWord word = parker.Park();
      if (reader().latest() != seen_ || reader().ended()) continue;
      bool woken = false;
      for (int polls = 0; polls < 2 && !woken; ++polls) woken = word.word->load() != word.expected;
      if (woken) continue;
      word_ = word;
      return;
    }
  }

  const bool ends_;
  FutexWord word_{nullptr, 0};  // that the reader sleeps on
  uint64_t seen_ = 0;
};

}  // namespace

const std::vector<NamedScenario>& SnapshotScenarios() {
  static const auto* const scenarios = new std::vector<NamedScenario>{
      {"VersionsOfAValue", 2, false, [] { return std::make_unique<Versions>(false); }},
      {"VersionsThatAreStreamed", 2, false, [] { return std::make_unique<Versions>(true); }},
      {"WaitsForVersions", 2, true, [] { return std::make_unique<Waits>(false, false); }},
      {"WaitsForVersionsThatAreStreamed", 2, true,
       [] { return std::make_unique<Waits>(true, false); }},
      {"WaitsForTheEndOfAValue", 2, false, [] { return std::make_unique<Waits>(false, true); }},
  };
  return *scenarios;
}

}  // namespace mailrail::model
