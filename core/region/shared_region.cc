#include <errno.h>
#include <sys/mman.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/region/named_memory.h"
#include "core/region/region_memory.h"
#include "mailrail/region.h"

namespace mailrail {

namespace internal {

class RegionImpl {
 public:
  explicit RegionImpl(RegionMemory memory) : own_(std::move(memory)) {}
  explicit RegionImpl(std::unique_ptr<NamedMemory> named) : named_(std::move(named)) {}

  const RegionMemory& memory() const { return named_ != nullptr ? named_->memory() : own_; }
  // Null without a name.
  const NamedMemory* named() const { return named_.get(); }
  size_t bytes() const { return named_ != nullptr ? named_->grant().spec().bytes() : own_.bytes; }

  absl::Status CheckUsable() const {
    if (named_ != nullptr) return named_->CheckUsable();
    if (!own_.mapping.left_behind()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "this SharedRegion belongs to the program that forked; use FromDescriptor in the child");
  }
  // Its versions, or why it has none.
  absl::StatusOr<Versions*> versions() const {
    if (absl::Status status = CheckUsable(); !status.ok()) return status;
    if (named_ == nullptr) {
      return absl::FailedPreconditionError("a region without a name has no versions");
    }
    if (named_->versions() == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("a region of ", bytes(), " bytes is too large to have versions"));
    }
    return named_->versions();
  }

 private:
  const RegionMemory own_;
  const std::unique_ptr<NamedMemory> named_;
};

}  // namespace internal

namespace {

absl::StatusOr<std::unique_ptr<internal::RegionImpl>> MakeImpl(absl::StatusOr<RegionMemory> made) {
  if (!made.ok()) return made.status();
  return std::make_unique<internal::RegionImpl>(*std::move(made));
}

using internal::NamedMemory;

static_assert(HasVersions(SharedRegion::kLargestVersioned) &&
              !HasVersions(SharedRegion::kLargestVersioned + 1));

constexpr absl::string_view kWhat = "region";

control::OpenRegion OpenRegion(absl::string_view name) {
  control::OpenRegion open;
  open.set_name(std::string(name));
  open.mutable_spec()->set_kind(proto::RegionSpec::REGION);
  return open;
}

absl::StatusOr<std::unique_ptr<internal::RegionImpl>> OpenNamed(Process& process,
                                                                const control::OpenRegion& open,
                                                                absl::Time deadline) {
  absl::StatusOr<std::unique_ptr<NamedMemory>> named = NamedMemory::Open(process, open, deadline);
  if (!named.ok()) return named.status();
  return std::make_unique<internal::RegionImpl>(*std::move(named));
}

}  // namespace

SharedRegion::SharedRegion(std::unique_ptr<internal::RegionImpl> impl) : impl_(std::move(impl)) {}
SharedRegion::SharedRegion(SharedRegion&&) noexcept = default;
SharedRegion& SharedRegion::operator=(SharedRegion&&) noexcept = default;
SharedRegion::~SharedRegion() = default;

absl::StatusOr<SharedRegion> SharedRegion::CreateAnonymous(size_t bytes) {
  auto impl = MakeImpl(CreateAnonymousRegion(bytes));
  if (!impl.ok()) return impl.status();
  return SharedRegion(*std::move(impl));
}

absl::StatusOr<SharedRegion> SharedRegion::MapFile(const std::string& path,
                                                   const RegionFileOptions& options) {
  auto impl = MakeImpl(MapRegionFile(path, options));
  if (!impl.ok()) return impl.status();
  return SharedRegion(*std::move(impl));
}

absl::StatusOr<SharedRegion> SharedRegion::FromDescriptor(int descriptor) {
  auto impl = MakeImpl(RegionOfDescriptor(descriptor));
  if (!impl.ok()) return impl.status();
  return SharedRegion(*std::move(impl));
}

absl::StatusOr<SharedRegion> SharedRegion::Create(Process& process, absl::string_view name,
                                                  size_t bytes, const NamedRegionOptions& options,
                                                  absl::Time deadline) {
  if (bytes == 0) return absl::InvalidArgumentError("a region has at least one byte");
  control::OpenRegion open = OpenRegion(name);
  open.mutable_spec()->set_bytes(bytes);
  open.mutable_spec()->set_transient(options.transient);
  open.set_writes(true);
  open.set_create(true);
  open.set_exclusive(options.exclusive);
  auto impl = OpenNamed(process, open, deadline);
  if (!impl.ok()) return impl.status();
  return SharedRegion(*std::move(impl));
}

absl::StatusOr<SharedRegion> SharedRegion::Open(Process& process, absl::string_view name,
                                                RegionAccess access, absl::Time deadline) {
  control::OpenRegion open = OpenRegion(name);
  open.set_writes(access == RegionAccess::kReadWrite);
  auto impl = OpenNamed(process, open, deadline);
  if (!impl.ok()) return impl.status();
  return SharedRegion(*std::move(impl));
}

absl::Status SharedRegion::Destroy(Process& process, absl::string_view name, absl::Time deadline) {
  return NamedMemory::Destroy(process, name, proto::RegionSpec::REGION, deadline);
}

const char* SharedRegion::data() const {
  return impl_->CheckUsable().ok() ? impl_->memory().mapping.data() : nullptr;
}

char* SharedRegion::mutable_data() {
  if (access() == RegionAccess::kReadOnly || !impl_->CheckUsable().ok()) return nullptr;
  return impl_->memory().mapping.data();
}

size_t SharedRegion::size() const { return impl_->bytes(); }
RegionAccess SharedRegion::access() const { return impl_->memory().access; }

absl::StatusOr<int> SharedRegion::Share(RegionAccess access) const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  if (replica()) {
    return absl::FailedPreconditionError("a replica of a region is opened by its name");
  }
  absl::StatusOr<Fd> fd = ShareRegion(impl_->memory(), access);
  if (!fd.ok()) return fd.status();
  return fd->Release();
}

absl::StatusOr<uint64_t> SharedRegion::Publish() {
  const absl::StatusOr<Versions*> versions = impl_->versions();
  if (!versions.ok()) return versions.status();
  const NamedMemory& named = *impl_->named();
  if (absl::Status status = named.CheckMayPublish(); !status.ok()) return status;
  // Another may have published meanwhile.
  SnapshotWriter writer = (*versions)->MakeWriter();
  if (!writer.sound()) return absl::DataLossError("the memory of this region is not well-formed");
  writer.Publish(named.memory().mapping.data());
  named.Published();
  return writer.version();
}

absl::StatusOr<RegionVersion> SharedRegion::ReadVersion() const {
  const absl::StatusOr<Versions*> versions = impl_->versions();
  if (!versions.ok()) return versions.status();
  RegionVersion read;
  read.bytes.resize((*versions)->bytes());
  const absl::StatusOr<uint64_t> version = (*versions)->Read(kWhat, read.bytes.data());
  if (!version.ok()) return version.status();
  read.version = *version;
  return read;
}

absl::StatusOr<RegionVersion> SharedRegion::WaitNewer(uint64_t version, absl::Time deadline) const {
  const absl::StatusOr<Versions*> versions = impl_->versions();
  if (!versions.ok()) return versions.status();
  const absl::Status status = (*versions)->AwaitNewer(
      kWhat, version, deadline, [this](bool slept) { return impl_->named()->Over(slept); });
  if (!status.ok()) return status;
  return ReadVersion();
}

uint64_t SharedRegion::version() const {
  const absl::StatusOr<Versions*> versions = impl_->versions();
  return versions.ok() ? (*versions)->version() : 0;
}

bool SharedRegion::replica() const {
  return impl_->named() != nullptr && impl_->named()->replica();
}

absl::Status SharedRegion::Flush() {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  const RegionMemory& memory = impl_->memory();
  if (!memory.is_file || memory.access == RegionAccess::kReadOnly) return absl::OkStatus();
  if (msync(memory.mapping.data(), memory.bytes, MS_SYNC) != 0) {
    return absl::ErrnoToStatus(errno, "msync");
  }
  return absl::OkStatus();
}

}  // namespace mailrail
