#include "core/region/versions.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/shm/futex.h"

namespace mailrail {
namespace {

// How long to look before sleeping.
constexpr absl::Duration kSpin = absl::Microseconds(20);

}  // namespace

Versions::Versions(const SnapshotGeometry& geometry, Mapping data, Mapping bell, Numbered numbered)
    : data_(std::move(data)),
      bell_(std::move(bell)),
      reader_(geometry, data_.data(), snapshot_bell()),
      numbered_(numbered == Numbered::kYes),
      bytes_(geometry.value_bytes - (numbered_ ? sizeof(uint64_t) : 0)) {}

absl::StatusOr<uint64_t> Versions::Read(absl::string_view what, void* value) const {
  uint64_t version = 0;
  std::string with_number(numbered_ ? bytes_ + sizeof(version) : 0, '\0');
  switch (reader_.Read(numbered_ ? with_number.data() : value, &version)) {
    case SnapshotLook::kRead:
      if (!numbered_) return version;
      std::memcpy(&version, with_number.data(), sizeof(version));
      std::memcpy(value, with_number.data() + sizeof(version), bytes_);
      return version;
    case SnapshotLook::kNone:
      return absl::NotFoundError(absl::StrCat("no version of this ", what, " was published yet"));
    case SnapshotLook::kOvertaken:
      return absl::UnavailableError(
          absl::StrCat("versions of this ", what, " come too fast to copy one"));
    case SnapshotLook::kCorrupt:
      break;
  }
  return absl::DataLossError(absl::StrCat("the memory of this ", what, " is not well-formed"));
}

uint64_t Versions::version() const {
  if (!numbered_) return reader_.latest();
  uint64_t number = 0, version = 0;
  const SnapshotLook look = reader_.ReadFirst(sizeof(number), &number, &version);
  return look == SnapshotLook::kRead ? number : 0;
}

bool Versions::Spin(absl::Time deadline, absl::FunctionRef<bool()> ready) {
  {
    absl::MutexLock lock(&spin_mutex_);
    if (!spin_.Pays()) return false;
  }
  const absl::Time until = std::min(deadline, absl::Now() + kSpin);
  bool is_ready = false;
  while (!(is_ready = ready()) && absl::Now() < until) {
  }
  absl::MutexLock lock(&spin_mutex_);
  if (is_ready) {
    spin_.Succeeded();
  } else {
    spin_.Failed();
  }
  return is_ready;
}

absl::Status Versions::AwaitNewer(absl::string_view what, uint64_t version, absl::Time deadline,
                                  Over over) {
  absl::Status why;
  bool slept = false;
  // Its end is told after its last version.
  const auto ready = [&] {
    if (this->version() > version) return true;
    why = over(slept);
    return !why.ok();
  };
  const auto result = [&] { return this->version() > version ? absl::OkStatus() : why; };
  if (ready() || Spin(deadline, ready)) return result();
  Parker parker = reader_.MakeParker();
  for (;;) {
    const FutexWord word = parker.Park();
    if (ready()) return result();
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat("there is no version after ", version, " of this ", what));
    }
    FutexWait(word.word, word.expected, std::min(left, parker.LookAgainAfter()));
    slept = true;
  }
}

}  // namespace mailrail
