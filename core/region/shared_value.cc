#include "mailrail/shared_value.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "core/process/waitable.h"
#include "core/region/region_memory.h"
#include "core/region/snapshot_reader.h"
#include "core/region/snapshot_writer.h"
#include "core/shm/adaptive_spin.h"
#include "core/shm/memory.h"

namespace mailrail::internal {
namespace {

static_assert(SharedValueHandle::kLargestBytes == kLargestSnapshot);

// How long to look before sleeping.
constexpr absl::Duration kSpin = absl::Microseconds(20);

// A member of a wait set.
class NewerVersion final : public Waitable {
 public:
  NewerVersion(const SnapshotReader& reader, uint64_t seen)
      : reader_(reader), parker_(reader.MakeParker()), seen_(seen) {}

  void Join() override {}
  void Leave() override {}
  bool Ready() override { return reader_.latest() > seen_ || reader_.ended(); }
  FutexWord Park(absl::Duration* longest) override {
    const FutexWord word = parker_.Park();
    *longest = std::min(*longest, parker_.LookAgainAfter());
    return word;
  }
  void Told() override { seen_ = std::max(seen_, reader_.latest()); }

 private:
  const SnapshotReader reader_;
  Parker parker_;
  uint64_t seen_;
};

}  // namespace

// The mapped memory of a value, and its writer, where this program is that.
class SharedValueImpl {
 public:
  // `data_fd` is read-only, and `data` may be mapped by another.
  SharedValueImpl(const SnapshotGeometry& geometry, Fd data_fd, Fd bell_fd, Mapping data,
                  Mapping bell, bool writes)
      : data_fd_(std::move(data_fd)),
        bell_fd_(std::move(bell_fd)),
        data_(std::move(data)),
        bell_(std::move(bell)),
        reader_(geometry, data_.data(), snapshot_bell()) {
    if (writes) writer_.emplace(geometry, data_.data(), snapshot_bell());
  }
  ~SharedValueImpl() {
    if (writes() && CheckUsable().ok()) writer_->End();
  }

  absl::Status CheckUsable() const {
    if (!data_.left_behind()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "this SharedValue belongs to the program that forked; use FromDescriptors in the child");
  }

  const Fd& data_fd() const { return data_fd_; }
  const Fd& bell_fd() const { return bell_fd_; }
  const SnapshotReader& reader() const { return reader_; }
  bool writes() const { return writer_.has_value(); }
  SnapshotWriter& writer() { return *writer_; }

  // Until there may be a version after `version`, or none will come; false at the deadline.
  bool Wait(uint64_t version, absl::Time deadline) {
    bool spins;
    {
      absl::MutexLock lock(&spin_mutex_);
      spins = spin_.Pays();
    }
    if (spins) {
      const absl::Time until = std::min(deadline, absl::Now() + kSpin);
      bool ready = false;
      while (!(ready = Ready(version)) && absl::Now() < until) {
      }
      absl::MutexLock lock(&spin_mutex_);
      if (ready) {
        spin_.Succeeded();
        return true;
      }
      spin_.Failed();
    }
    Parker parker = reader_.MakeParker();
    for (;;) {
      const FutexWord word = parker.Park();
      if (Ready(version)) return true;
      const absl::Duration left = deadline - absl::Now();
      if (left <= absl::ZeroDuration()) return false;
      FutexWait(word.word, word.expected, std::min(left, parker.LookAgainAfter()));
    }
  }

 private:
  SnapshotBell* snapshot_bell() const { return reinterpret_cast<SnapshotBell*>(bell_.data()); }
  bool Ready(uint64_t version) const { return reader_.latest() > version || reader_.ended(); }

  const Fd data_fd_;
  const Fd bell_fd_;
  const Mapping data_;
  const Mapping bell_;
  const SnapshotReader reader_;
  absl::optional<SnapshotWriter> writer_;

  absl::Mutex spin_mutex_;
  AdaptiveSpin spin_ ABSL_GUARDED_BY(spin_mutex_);
};

SharedValueHandle::SharedValueHandle(std::unique_ptr<SharedValueImpl> impl)
    : impl_(std::move(impl)) {}
SharedValueHandle::SharedValueHandle(SharedValueHandle&&) noexcept = default;
SharedValueHandle& SharedValueHandle::operator=(SharedValueHandle&&) noexcept = default;
SharedValueHandle::~SharedValueHandle() = default;

absl::StatusOr<SharedValueHandle> SharedValueHandle::CreateAnonymous(size_t bytes,
                                                                     uint64_t schema) {
  const SnapshotGeometry geometry = SnapshotGeometry::For(bytes, schema);
  if (absl::Status status = CheckMemoryFor(geometry.data_bytes()); !status.ok()) return status;
  absl::StatusOr<Fd> writable =
      CreateMemory("mailrail-value", geometry.data_bytes(), MoreSeals::kAllowed);
  if (!writable.ok()) return writable.status();
  absl::StatusOr<Mapping> data = Mapping::Map(*writable, geometry.data_bytes(), Access::kReadWrite);
  if (!data.ok()) return data.status();
  if (absl::Status status = SealAgainstWriting(*writable); !status.ok()) return status;
  if (absl::Status status = ProvideMemory(data->data(), data->size()); !status.ok()) return status;
  absl::StatusOr<Fd> readable = OpenReadOnly(*writable);
  if (!readable.ok()) return readable.status();
  absl::StatusOr<Fd> bell_fd = CreateMemory("mailrail-value-bell", sizeof(SnapshotBell));
  if (!bell_fd.ok()) return bell_fd.status();
  absl::StatusOr<Mapping> bell = Mapping::Map(*bell_fd, sizeof(SnapshotBell), Access::kReadWrite);
  if (!bell.ok()) return bell.status();
  FormatSnapshot(geometry, data->data());
  return SharedValueHandle(std::make_unique<SharedValueImpl>(
      geometry, *std::move(readable), *std::move(bell_fd), *std::move(data), *std::move(bell),
      /*writes=*/true));
}

absl::StatusOr<SharedValueHandle> SharedValueHandle::FromDescriptors(
    const SharedValueDescriptors& descriptors, size_t bytes, uint64_t schema) {
  absl::StatusOr<RegionMemory> data = RegionOfDescriptor(descriptors.value);
  if (!data.ok()) return data.status();
  if (data->access != RegionAccess::kReadOnly) {
    return absl::DataLossError("who reads a shared value has a read-only descriptor of it");
  }
  SnapshotGeometry geometry;
  if (absl::Status status =
          CheckSnapshot(data->mapping.data(), data->bytes, bytes, schema, &geometry);
      !status.ok()) {
    return status;
  }
  absl::StatusOr<Fd> bell_fd = CopyDescriptor(descriptors.bell);
  if (!bell_fd.ok()) return bell_fd.status();
  absl::StatusOr<Mapping> bell = Mapping::Map(*bell_fd, sizeof(SnapshotBell), Access::kReadWrite);
  if (!bell.ok()) return bell.status();
  return SharedValueHandle(std::make_unique<SharedValueImpl>(
      geometry, std::move(data->fd), *std::move(bell_fd), std::move(data->mapping),
      *std::move(bell), /*writes=*/false));
}

absl::StatusOr<SharedValueDescriptors> SharedValueHandle::Share() const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  absl::StatusOr<Fd> data = CopyDescriptor(impl_->data_fd().get());
  if (!data.ok()) return data.status();
  absl::StatusOr<Fd> bell = CopyDescriptor(impl_->bell_fd().get());
  if (!bell.ok()) return bell.status();
  return SharedValueDescriptors{.value = data->Release(), .bell = bell->Release()};
}

absl::Status SharedValueHandle::Publish(const void* value) {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  if (!impl_->writes()) {
    return absl::PermissionDeniedError("another program is the writer of this shared value");
  }
  impl_->writer().Publish(value);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SharedValueHandle::Read(void* value) const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  uint64_t version = 0;
  switch (impl_->reader().Read(value, &version)) {
    case SnapshotLook::kRead:
      return version;
    case SnapshotLook::kNone:
      return absl::NotFoundError("no version of this shared value was published yet");
    case SnapshotLook::kOvertaken:
      return absl::UnavailableError("versions of this shared value come too fast to copy one");
    case SnapshotLook::kCorrupt:
      break;
  }
  return absl::DataLossError("the memory of this shared value is not well-formed");
}

absl::StatusOr<uint64_t> SharedValueHandle::WaitNewer(uint64_t version, void* value,
                                                      absl::Time deadline) const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  if (this->version() <= version) {
    const bool ready = impl_->Wait(version, deadline);
    // Its end is told after its last version.
    if (this->version() <= version) {
      if (ready) return absl::UnavailableError("the writer of this shared value has let it go");
      return absl::DeadlineExceededError(
          absl::StrCat("there is no version after ", version, " of this shared value"));
    }
  }
  return Read(value);
}

uint64_t SharedValueHandle::version() const {
  return impl_->CheckUsable().ok() ? impl_->reader().latest() : 0;
}

absl::StatusOr<std::unique_ptr<Waitable>> SharedValueHandle::MakeWaitable(uint64_t seen) const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  return std::make_unique<NewerVersion>(impl_->reader(), seen);
}

bool SharedValueHandle::writes() const { return impl_->writes(); }

}  // namespace mailrail::internal
