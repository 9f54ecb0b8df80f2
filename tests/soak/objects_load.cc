#include "tests/soak/objects_load.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "mailrail/mailrail.h"
#include "mailrail/shared_value.h"
#include "tests/support/eventually.h"
#include "tests/support/require.h"

namespace mailrail::soak {
namespace {

constexpr char kObjects[] = "soak@alpha";

// One that is stopped goes on long before.
absl::Time Soon() { return absl::Now() + absl::Seconds(20); }
absl::Time AMoment() { return absl::Now() + absl::Milliseconds(100); }

class User {
 public:
  explicit User(const ObjectsOrders& orders)
      : orders_(orders), board_(*orders.board), random_(orders.seed) {
    AttachOptions options;
    options.socket = orders.socket;
    options.autostart = false;
    process_ = Made(Process::Attach(options), "attach");
  }

  template <typename T>
  std::unique_ptr<T> Made(absl::StatusOr<T> made, absl::string_view what) {
    if (!made.ok()) {
      board_.Report(absl::StrCat(what, ": ", made.status().ToString()));
      _exit(1);
    }
    return std::make_unique<T>(*std::move(made));
  }
  void Must(const absl::Status& status, absl::string_view what) {
    if (!status.ok()) board_.Report(absl::StrCat(what, ": ", status.ToString()));
  }
  void Expect(bool holds, absl::string_view what) {
    if (!holds) board_.Report(absl::StrCat("life ", orders_.life, ": ", what));
  }
  bool Until(ObjectsStage stage) const { return board_.stage.load() < stage; }
  uint64_t Below(uint64_t end) { return random_() % end; }
  void Dawdle() {
    for (uint64_t i = Below(200); i > 0; --i) std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  Process& process() { return *process_; }
  Board& board() { return board_; }
  const ObjectsOrders& orders() const { return orders_; }

 private:
  const ObjectsOrders& orders_;
  Board& board_;
  std::mt19937_64 random_;
  std::unique_ptr<Process> process_;
};

// In the lock: whether what it guards is whole, or somebody has died in it; changes it.
void Change(User& user, const Grant& grant, Guarded* guarded) {
  user.Expect(grant.fence > guarded->fence, "a token that has not risen");
  guarded->fence = grant.fence;
  const bool whole = guarded->inside == 0 && guarded->first == guarded->second;
  user.Expect(whole || grant.owner_died, "two are in the lock, or a death was not told");
  user.board().deaths_told += grant.owner_died;
  guarded->inside = user.orders().life;
  guarded->second = ++guarded->first;
  user.Dawdle();
  ++guarded->first;
  user.Dawdle();
  ++guarded->second;
  user.Expect(guarded->first == guarded->second, "another is in the lock");
  user.Expect(guarded->inside == user.orders().life, "another was in the lock");
  guarded->inside = 0;
  ++user.board().locks;
}

void LockOne(User& user, Mutex& mutex, absl::StatusOr<Grant> grant) {
  user.Must(grant.status(), "lock");
  if (!grant.ok()) return;
  Change(user, *grant, &user.board().mutex);
  user.Must(mutex.Unlock(), "unlock");
}

void Look(User& user, SharedMutex& shared) {
  const absl::StatusOr<Grant> grant = shared.LockShared(Soon());
  user.Must(grant.status(), "lock to read");
  if (!grant.ok()) return;
  const Guarded& guarded = user.board().shared;
  const uint64_t first = guarded.first;
  user.Dawdle();
  user.Expect(first == guarded.second || grant->owner_died, "a reader sees half a change");
  user.Expect(first == guarded.first, "somebody writes beside a reader");
  user.Must(shared.UnlockShared(), "unlock to read");
  ++user.board().looks;
}

void HaveUnit(User& user, Semaphore& semaphore) {
  absl::StatusOr<Semaphore::Permit> permit = semaphore.Acquire(Soon());
  user.Must(permit.status(), "acquire");
  if (!permit.ok()) return;
  Board& board = user.board();
  Board::Place& own = board.places[user.orders().place];
  own.has_unit = true;
  uint32_t units = 0;
  for (const Board::Place& place : board.places) units += place.has_unit && !place.doomed;
  user.Expect(units <= kUnits, absl::StrCat(units, " permits of ", kUnits, " units"));
  user.Dawdle();
  own.has_unit = false;
  user.Must(permit->Release(), "release");
  ++board.units;
}

// Bytes of a write, which follow from its writer and number.
struct Header {
  uint32_t magic = 0x6b616f73;
  uint32_t life = 0;
  uint32_t number = 0;
  uint32_t bytes = 0;  // after the header
};

std::string WriteOf(uint32_t life, uint32_t number, uint32_t bytes) {
  const Header header = {.life = life, .number = number, .bytes = bytes};
  std::string write(sizeof(header) + bytes, static_cast<char>(life * 31 + number));
  std::memcpy(write.data(), &header, sizeof(header));
  return write;
}

// Takes whole writes from the front of `bytes`, and notes them.
void NoteWrites(User& user, std::string* bytes) {
  Header header;
  while (bytes->size() >= sizeof(header)) {
    std::memcpy(&header, bytes->data(), sizeof(header));
    const bool sound = header.magic == Header().magic && header.life < Board::kLives;
    user.Expect(sound, "a write that nobody has written, or half of one");
    if (!sound) return bytes->clear();
    const size_t size = sizeof(header) + header.bytes;
    if (bytes->size() < size) return;
    user.Expect(bytes->compare(0, size, WriteOf(header.life, header.number, header.bytes)) == 0,
                "a torn write");
    bytes->erase(0, size);
    std::atomic<uint32_t>& read = user.board().read[header.life];
    user.Expect(header.number > read, "a write again, or out of order");
    user.board().lost_writes += header.number - read - 1;
    read = header.number;
    ++user.board().writes;
  }
}

struct Words {
  uint64_t words[32];
  static Words Of(uint32_t life, uint64_t version) {
    Words made;
    std::fill(std::begin(made.words), std::end(made.words), uint64_t{life} << 32 | version);
    return made;
  }
};
using Value = SharedValue<Words>;

absl::StatusOr<Value> OpenValue(const Board& board) {
  int opened[2];
  for (int i = 0; i < 2; ++i) {
    const std::string path =
        absl::StrCat("/proc/", board.value_pid.load(), "/fd/", board.value_descriptors[i].load());
    opened[i] = open(path.c_str(), (i == 0 ? O_RDONLY : O_RDWR) | O_CLOEXEC);
  }
  absl::StatusOr<Value> value = absl::NotFoundError("its writer has gone");
  if (opened[0] >= 0 && opened[1] >= 0) {
    value = Value::FromDescriptors({.value = opened[0], .bell = opened[1]});
  }
  for (const int descriptor : opened) {
    if (descriptor >= 0) close(descriptor);
  }
  return value;
}

}  // namespace

void Board::Report(absl::string_view violation) {
  const uint64_t number = violations++;
  if (number >= kTexts) return;
  std::snprintf(texts[number], sizeof(texts[number]), "%s", std::string(violation).c_str());
}

void MakeObjects(const ObjectsOrders& orders) {
  User user(orders);
  user.Made(Mutex::Open(user.process(), kObjects), "a mutex");
  user.Made(SharedMutex::Open(user.process(), kObjects), "a shared mutex");
  user.Made(Semaphore::Open(user.process(), kObjects, {.units = kUnits}), "a semaphore");
  user.Made(Barrier::Open(user.process(), kObjects, kParties), "a barrier");
  user.Made(PipeReader::Open(user.process(), "soak"), "a pipe");
}

void RunLocker(const ObjectsOrders& orders) {
  User user(orders);
  const auto mutex = user.Made(Mutex::Open(user.process(), kObjects), "a mutex");
  const auto shared = user.Made(SharedMutex::Open(user.process(), kObjects), "a shared mutex");
  const auto semaphore =
      user.Made(Semaphore::Open(user.process(), kObjects, {.units = kUnits}), "a semaphore");
  WaitSet set(user.process());
  // One of another node is no member.
  if (!orders.far) user.Must(set.Add(1, *mutex), "a member");
  while (user.Until(ObjectsStage::kAllLeave)) {
    switch (user.Below(5)) {
      case 0:
        LockOne(user, *mutex, mutex->Lock(Soon()));
        break;
      case 1:
        if (orders.far) {
          absl::StatusOr<Grant> grant = mutex->TryLock();
          if (!absl::IsDeadlineExceeded(grant.status())) LockOne(user, *mutex, std::move(grant));
        } else if (const absl::StatusOr<uint64_t> ready = set.Wait(Soon()); ready.ok()) {
          absl::StatusOr<Grant> grant = mutex->TryLock();
          if (!absl::IsDeadlineExceeded(grant.status())) LockOne(user, *mutex, std::move(grant));
        } else {
          user.Must(ready.status(), "wait for the mutex");
        }
        break;
      case 2: {
        const absl::StatusOr<Grant> grant = shared->Lock(Soon());
        user.Must(grant.status(), "lock to write");
        if (!grant.ok()) break;
        Change(user, *grant, &user.board().shared);
        user.Must(shared->Unlock(), "unlock to write");
        break;
      }
      case 3:
        Look(user, *shared);
        break;
      default:
        HaveUnit(user, *semaphore);
    }
  }
}

void RunParty(const ObjectsOrders& orders) {
  User user(orders);
  const auto barrier = user.Made(Barrier::Open(user.process(), kObjects, kParties), "a barrier");
  while (user.Until(ObjectsStage::kWritersLeave)) {
    const absl::StatusOr<uint32_t> round = barrier->Wait(AMoment());
    if (absl::IsDeadlineExceeded(round.status())) continue;
    // Whether it was counted is not known when the home's agent was killed in the middle.
    if (orders.far && (absl::IsAborted(round.status()) || absl::IsUnavailable(round.status()))) {
      continue;
    }
    user.Must(round.status(), "a barrier");
    if (!round.ok()) return;
    // The next round needs this party, too; so all that pass are of the same.
    uint32_t last = user.board().last_round;
    user.Expect(*round + 1 == last || *round == last,
                absl::StrCat("round ", *round, " beside round ", last));
    user.board().last_round.compare_exchange_strong(last, *round + 1);
    ++user.board().rounds;
  }
}

void RunPipeWriter(const ObjectsOrders& orders) {
  User user(orders);
  const auto writer = user.Made(PipeWriter::Open(user.process(), "soak"), "a pipe to write");
  for (uint32_t number = 1; user.Until(ObjectsStage::kWritersLeave); ++number) {
    const auto bytes = static_cast<uint32_t>(user.Below(user.Below(8) == 0 ? 40000 : 300));
    const std::string write = WriteOf(orders.life, number, bytes);
    absl::Status status;
    // Of a pipe between two readers it is told that it is broken.
    while (status = writer->Write(write, Soon()), absl::IsUnavailable(status)) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    user.Must(status, "write");
    if (!status.ok()) return;
    user.board().written[orders.life] = number;
  }
}

void RunPipeReader(const ObjectsOrders& orders) {
  User user(orders);
  const auto reader = user.Made(PipeReader::Open(user.process(), "soak"), "a pipe to read");
  std::string bytes;
  std::vector<char> buffer(20000);
  while (user.Until(ObjectsStage::kAllLeave)) {
    const absl::StatusOr<size_t> count =
        reader->Read(absl::MakeSpan(buffer).first(1 + user.Below(buffer.size())), AMoment());
    if (absl::IsDeadlineExceeded(count.status())) continue;
    user.Must(count.status(), "read");
    if (!count.ok()) return;
    if (*count == 0) {
      user.Expect(bytes.empty(), "end of file within a write");
      ++user.board().ends;
    }
    bytes.append(buffer.data(), *count);
    NoteWrites(user, &bytes);
  }
}

void RunValueWriter(const ObjectsOrders& orders) {
  User user(orders);
  const auto value = user.Made(Value::CreateAnonymous(), "a value");
  const absl::StatusOr<SharedValueDescriptors> shared = value->Share();
  user.Must(shared.status(), "share");
  Board& board = user.board();
  board.value_life = 0;
  board.value_pid = getpid();
  board.value_descriptors[0] = shared->value;
  board.value_descriptors[1] = shared->bell;
  board.value_life = orders.life;
  for (uint64_t version = 1; user.Until(ObjectsStage::kWritersLeave); ++version) {
    user.Must(value->Publish(Words::Of(orders.life, version)), "publish");
    board.published = uint64_t{orders.life} << 32 | version;
    if (version % 64 == 0) absl::SleepFor(absl::Microseconds(user.Below(300)));
  }
  // Readers are told that there will be no more.
}

void RunValueReader(const ObjectsOrders& orders) {
  User user(orders);
  Board& board = user.board();
  while (user.Until(ObjectsStage::kWritersLeave)) {
    const uint32_t life = board.value_life;
    const absl::StatusOr<Value> value = OpenValue(board);
    if (life == 0 || !value.ok() || board.value_life != life) {
      absl::SleepFor(absl::Milliseconds(1));
      continue;
    }
    uint64_t last = 0;
    while (user.Until(ObjectsStage::kWritersLeave) && board.value_life == life) {
      const uint64_t published = board.published;
      const absl::StatusOr<Versioned<Words>> read = value->WaitNewer(last, AMoment());
      if (absl::IsDeadlineExceeded(read.status()) || absl::IsUnavailable(read.status())) continue;
      user.Must(read.status(), "read a value");
      if (!read.ok()) return;
      const uint64_t word = uint64_t{life} << 32 | read->version;
      user.Expect(std::all_of(std::begin(read->value.words), std::end(read->value.words),
                              [word](uint64_t each) { return each == word; }),
                  "half a version");
      user.Expect(read->version > last, "a version that has not risen");
      user.Expect(published >> 32 != life || read->version >= (published & 0xffffffff),
                  "a version before one that was published");
      last = read->version;
      ++board.versions;
    }
  }
}

void RunNamedValueWriter(const ObjectsOrders& orders) {
  User user(orders);
  absl::StatusOr<Value> value = absl::UnavailableError("");
  // Until it is known that the writer before has died.
  user.Expect(Eventually([&] {
                value = Value::Create(user.process(), "soak");
                return !absl::IsFailedPrecondition(value.status());
              }),
              "a writer that is dead writes");
  user.Must(value.status(), "a value to write");
  if (!value.ok()) return;
  Board& board = user.board();
  const uint64_t first = value->version();
  user.Expect(first >= board.published, "what was published is gone");
  for (uint64_t version = first + 1; user.Until(ObjectsStage::kWritersLeave); ++version) {
    user.Must(value->Publish(Words::Of(0, version)), "publish");
    board.published = version;
    if (version % 64 == 0) absl::SleepFor(absl::Microseconds(user.Below(300)));
  }
}

void RunNamedValueReader(const ObjectsOrders& orders) {
  User user(orders);
  Board& board = user.board();
  absl::StatusOr<Value> value = absl::NotFoundError("");
  user.Expect(Eventually([&] {
                value = Value::Open(user.process(), kObjects);
                return !absl::IsNotFound(value.status());
              }),
              "there is no value");
  user.Must(value.status(), "a value to read");
  if (!value.ok()) return;
  uint64_t last = 0;
  while (user.Until(ObjectsStage::kWritersLeave)) {
    const uint64_t published = board.published;
    const absl::StatusOr<Versioned<Words>> read = value->WaitNewer(last, AMoment());
    if (absl::IsDeadlineExceeded(read.status())) continue;
    user.Must(read.status(), "read a value");
    if (!read.ok()) return;
    user.Expect(std::all_of(std::begin(read->value.words), std::end(read->value.words),
                            [&](uint64_t each) { return each == read->version; }),
                "half a version");
    user.Expect(read->version > last, "a version that has not risen");
    user.Expect(orders.far || read->version >= published, "an older version than the last");
    last = read->version;
    ++board.versions;
  }
}

void CheckObjects(const ObjectsOrders& orders) {
  User user(orders);
  Board& board = user.board();
  const auto mutex = user.Made(Mutex::Open(user.process(), kObjects), "a mutex");
  const auto shared = user.Made(SharedMutex::Open(user.process(), kObjects), "a shared mutex");
  const auto semaphore =
      user.Made(Semaphore::Open(user.process(), kObjects, {.units = kUnits}), "a semaphore");
  const auto barrier = user.Made(Barrier::Open(user.process(), kObjects, kParties), "a barrier");
  for (int i = 0; i < 2; ++i) {
    absl::StatusOr<Grant> grant = mutex->Lock(Soon());
    user.Must(grant.status(), "lock, after all");
    user.Expect(i == 0 || !grant->owner_died, "a death is told twice");
    if (grant.ok()) Change(user, *grant, &board.mutex);
    user.Must(mutex->Unlock(), "unlock");
    grant = shared->Lock(Soon());
    user.Must(grant.status(), "lock to write, after all");
    user.Expect(i == 0 || !grant->owner_died, "a death is told twice");
    if (grant.ok()) Change(user, *grant, &board.shared);
    user.Must(shared->Unlock(), "unlock");
  }
  user.Expect(Eventually([&] { return semaphore->value() == kUnits; }),
              absl::StrCat(semaphore->value(), " units are left"));
  user.Expect(Eventually([&] { return barrier->waiting() == 0; }), "a place is lost");
  for (size_t life = 0; life < Board::kLives; ++life) {
    if (board.written[life] <= board.read[life]) continue;
    board.lost_writes += board.written[life] - board.read[life];
    board.read[life] = board.written[life].load();
  }
}

}  // namespace mailrail::soak
