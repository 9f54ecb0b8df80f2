#include "mailrail/shared_value.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "core/process/waitable.h"
#include "core/region/named_memory.h"
#include "core/region/region_memory.h"
#include "core/region/versions.h"
#include "core/shm/memory.h"

namespace mailrail::internal {
namespace {

static_assert(HasVersions(SharedValueHandle::kLargestBytes));

constexpr absl::string_view kWhat = "shared value";

control::OpenRegion OpenValue(absl::string_view name, uint64_t schema) {
  control::OpenRegion open;
  open.set_name(std::string(name));
  open.mutable_spec()->set_kind(proto::RegionSpec::VALUE);
  open.mutable_spec()->set_schema(schema);
  return open;
}

}  // namespace

// A value by its descriptors, or by its name, and its writer, where this program is that.
class SharedValueImpl {
 public:
  // By descriptors. `data_fd` is read-only, and `data` may be mapped by another.
  SharedValueImpl(const SnapshotGeometry& geometry, Fd data_fd, Fd bell_fd, Mapping data,
                  Mapping bell, bool writes)
      : data_fd_(std::move(data_fd)),
        bell_fd_(std::move(bell_fd)),
        own_(std::make_unique<Versions>(geometry, std::move(data), std::move(bell))) {
    if (writes) writer_.emplace(own_->MakeWriter());
  }
  explicit SharedValueImpl(std::unique_ptr<NamedMemory> named) : named_(std::move(named)) {
    if (named_->writes()) writer_.emplace(named_->versions()->MakeWriter());
  }
  ~SharedValueImpl() {
    // After a writer of one with a name another may come.
    if (writes() && named_ == nullptr && CheckUsable().ok()) writer_->End();
  }

  absl::Status CheckUsable() const {
    if (named_ != nullptr) return named_->CheckUsable();
    if (!own_->left_behind()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "this SharedValue belongs to the program that forked; use FromDescriptors in the child");
  }

  const NamedMemory* named() const { return named_.get(); }
  const Fd& data_fd() const { return data_fd_; }
  const Fd& bell_fd() const { return bell_fd_; }
  Versions& versions() const { return named_ != nullptr ? *named_->versions() : *own_; }
  bool writes() const { return writer_.has_value(); }
  SnapshotWriter& writer() { return *writer_; }

  // OK, or why there will be no newer version.
  absl::Status Over(bool slept) const {
    if (named_ != nullptr) return named_->Over(slept);
    return own_->ended() ? absl::UnavailableError("the writer of this shared value has let it go")
                         : absl::OkStatus();
  }

 private:
  const Fd data_fd_;
  const Fd bell_fd_;
  const std::unique_ptr<Versions> own_;       // without a name
  const std::unique_ptr<NamedMemory> named_;  // with one
  absl::optional<SnapshotWriter> writer_;
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

absl::StatusOr<SharedValueHandle> SharedValueHandle::Create(Process& process,
                                                            absl::string_view name, size_t bytes,
                                                            uint64_t schema,
                                                            const NamedRegionOptions& options,
                                                            absl::Time deadline) {
  control::OpenRegion open = OpenValue(name, schema);
  open.mutable_spec()->set_bytes(bytes);
  open.mutable_spec()->set_transient(options.transient);
  open.set_writes(true);
  open.set_create(true);
  open.set_exclusive(options.exclusive);
  absl::StatusOr<std::unique_ptr<NamedMemory>> named = NamedMemory::Open(process, open, deadline);
  if (!named.ok()) return named.status();
  if ((*named)->versions() == nullptr || (*named)->versions()->bytes() != bytes) {
    return absl::DataLossError("the agent granted a value of another size");
  }
  return SharedValueHandle(std::make_unique<SharedValueImpl>(*std::move(named)));
}

absl::StatusOr<SharedValueHandle> SharedValueHandle::Open(Process& process, absl::string_view name,
                                                          size_t bytes, uint64_t schema,
                                                          absl::Time deadline) {
  control::OpenRegion open = OpenValue(name, schema);
  open.mutable_spec()->set_bytes(bytes);
  absl::StatusOr<std::unique_ptr<NamedMemory>> named = NamedMemory::Open(process, open, deadline);
  if (!named.ok()) return named.status();
  if ((*named)->versions() == nullptr || (*named)->versions()->bytes() != bytes) {
    return absl::DataLossError("the agent granted a value of another size");
  }
  return SharedValueHandle(std::make_unique<SharedValueImpl>(*std::move(named)));
}

absl::Status SharedValueHandle::Destroy(Process& process, absl::string_view name,
                                        absl::Time deadline) {
  return NamedMemory::Destroy(process, name, proto::RegionSpec::VALUE, deadline);
}

absl::StatusOr<SharedValueDescriptors> SharedValueHandle::Share() const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  if (impl_->named() != nullptr) {
    return absl::FailedPreconditionError("a shared value with a name is opened by that");
  }
  absl::StatusOr<Fd> data = CopyDescriptor(impl_->data_fd().get());
  if (!data.ok()) return data.status();
  absl::StatusOr<Fd> bell = CopyDescriptor(impl_->bell_fd().get());
  if (!bell.ok()) return bell.status();
  return SharedValueDescriptors{.value = data->Release(), .bell = bell->Release()};
}

absl::Status SharedValueHandle::Publish(const void* value) {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  const NamedMemory* const named = impl_->named();
  if (named != nullptr) {
    if (absl::Status status = named->CheckMayPublish(); !status.ok()) return status;
  }
  if (!impl_->writes()) {
    return absl::PermissionDeniedError("another program is the writer of this shared value");
  }
  impl_->writer().Publish(value);
  if (named != nullptr) named->Published();
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SharedValueHandle::Read(void* value) const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  return impl_->versions().Read(kWhat, value);
}

absl::StatusOr<uint64_t> SharedValueHandle::WaitNewer(uint64_t version, void* value,
                                                      absl::Time deadline) const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  const absl::Status status = impl_->versions().AwaitNewer(
      kWhat, version, deadline, [this](bool slept) { return impl_->Over(slept); });
  if (!status.ok()) return status;
  return Read(value);
}

uint64_t SharedValueHandle::version() const {
  return impl_->CheckUsable().ok() ? impl_->versions().version() : 0;
}

namespace {

// A member of a wait set.
class NewerVersion final : public Waitable {
 public:
  NewerVersion(const SharedValueImpl& value, uint64_t seen)
      : value_(value), parker_(value.versions().MakeParker()), seen_(seen) {}

  void Join() override {}
  void Leave() override {}
  bool Ready() override {
    return value_.versions().version() > seen_ || !value_.Over(/*slept=*/false).ok() ||
           (value_.named() != nullptr && value_.named()->detached());
  }
  FutexWord Park(absl::Duration* longest) override {
    const FutexWord word = parker_.Park();
    *longest = std::min(*longest, parker_.LookAgainAfter());
    return word;
  }
  void Told() override { seen_ = std::max(seen_, value_.versions().version()); }

 private:
  const SharedValueImpl& value_;
  Parker parker_;
  uint64_t seen_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Waitable>> SharedValueHandle::MakeWaitable(uint64_t seen) const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  return std::make_unique<NewerVersion>(*impl_, seen);
}

bool SharedValueHandle::writes() const { return impl_->writes(); }

}  // namespace mailrail::internal
