#include <errno.h>
#include <sys/mman.h>

#include <utility>

#include "core/region/region_memory.h"
#include "mailrail/region.h"

namespace mailrail {

namespace internal {

class RegionImpl {
 public:
  explicit RegionImpl(RegionMemory memory) : memory_(std::move(memory)) {}

  const RegionMemory& memory() const { return memory_; }

  absl::Status CheckUsable() const {
    if (!memory_.mapping.left_behind()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "this SharedRegion belongs to the program that forked; use FromDescriptor in the child");
  }

 private:
  const RegionMemory memory_;
};

}  // namespace internal

namespace {

absl::StatusOr<std::unique_ptr<internal::RegionImpl>> MakeImpl(absl::StatusOr<RegionMemory> made) {
  if (!made.ok()) return made.status();
  return std::make_unique<internal::RegionImpl>(*std::move(made));
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

const char* SharedRegion::data() const {
  return impl_->CheckUsable().ok() ? impl_->memory().mapping.data() : nullptr;
}

char* SharedRegion::mutable_data() {
  if (access() == RegionAccess::kReadOnly || !impl_->CheckUsable().ok()) return nullptr;
  return impl_->memory().mapping.data();
}

size_t SharedRegion::size() const { return impl_->memory().bytes; }
RegionAccess SharedRegion::access() const { return impl_->memory().access; }

absl::StatusOr<int> SharedRegion::Share(RegionAccess access) const {
  if (absl::Status status = impl_->CheckUsable(); !status.ok()) return status;
  absl::StatusOr<Fd> fd = ShareRegion(impl_->memory(), access);
  if (!fd.ok()) return fd.status();
  return fd->Release();
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
