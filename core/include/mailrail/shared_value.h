#ifndef MAILRAIL_SHARED_VALUE_H_
#define MAILRAIL_SHARED_VALUE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mailrail/process.h"
#include "mailrail/region.h"

namespace mailrail {

// By what a SharedValue is given to another program.
struct SharedValueDescriptors {
  int value = -1;  // read-only
  int bell = -1;   // by which a reader says that it waits
};

class WaitSet;

namespace internal {

class SharedValueImpl;
class Waitable;

// What SharedValue is for any type.
class SharedValueHandle {
 public:
  static constexpr size_t kLargestBytes = size_t{16} << 20;

  static absl::StatusOr<SharedValueHandle> CreateAnonymous(size_t bytes, uint64_t schema);
  static absl::StatusOr<SharedValueHandle> FromDescriptors(
      const SharedValueDescriptors& descriptors, size_t bytes, uint64_t schema);

  static absl::StatusOr<SharedValueHandle> Create(Process& process, absl::string_view name,
                                                  size_t bytes, uint64_t schema,
                                                  const NamedRegionOptions& options,
                                                  absl::Time deadline);
  static absl::StatusOr<SharedValueHandle> Open(Process& process, absl::string_view name,
                                                size_t bytes, uint64_t schema, absl::Time deadline);
  static absl::Status Destroy(Process& process, absl::string_view name, absl::Time deadline);

  SharedValueHandle(SharedValueHandle&&) noexcept;
  SharedValueHandle& operator=(SharedValueHandle&&) noexcept;
  ~SharedValueHandle();

  absl::StatusOr<SharedValueDescriptors> Share() const;
  absl::Status Publish(const void* value);
  // The version that was read into `value`.
  absl::StatusOr<uint64_t> Read(void* value) const;
  absl::StatusOr<uint64_t> WaitNewer(uint64_t version, void* value, absl::Time deadline) const;
  uint64_t version() const;
  bool writes() const;
  // For a wait set: ready while there is a version after `seen`, or after the last of which it was
  // told, or there will be none. This outlives it. kFailedPrecondition.
  absl::StatusOr<std::unique_ptr<Waitable>> MakeWaitable(uint64_t seen) const;

 private:
  explicit SharedValueHandle(std::unique_ptr<SharedValueImpl> impl);
  std::unique_ptr<SharedValueImpl> impl_;
};

}  // namespace internal

// A value and its number: the first that was published is version 1, each is one more than the one
// before.
template <typename T>
struct Versioned {
  T value;
  uint64_t version = 0;
};

// One value in shared memory that one process writes and any number of others read. A reader gets
// the last version, whole, and never waits for the writer, which may be stopped or killed at any
// moment; the writer never waits for readers, and makes no system call while none waits for a newer
// version. Readers share no cache line that they write.
//
// The writer creates it, and alone can write it, which the kernel sees to. Others get it by two
// descriptors, or by its name.
//
// Without a name, when its SharedValue is destroyed there is no newer version, but the last one
// stays as long as anybody has it; so it does when the writer is killed, which nobody is told of.
// One with a name stays until it is destroyed: when its writer lets it go, or ends, another may
// open it as its writer, and goes on at the next version. From other nodes it is read as a named
// region is: a replica of whole versions, in order.
//
// `T` has to mean the same to all: fixed-width fields, no pointers. Its size is compared, and
// `schema`, a number of the program's own that changes with T.
//
// Move-only. Thread-safe, but for move and destruction, and that one thread at a time publishes. In
// the child of a fork every call is refused (kFailedPrecondition), as SharedRegion's.
template <typename T>
requires std::is_trivially_copyable_v<T> && std::default_initializable<T>
class SharedValue {
 public:
  static_assert(sizeof(T) <= internal::SharedValueHandle::kLargestBytes);

  // Makes one without a version; this program is its writer. kResourceExhausted.
  static absl::StatusOr<SharedValue> CreateAnonymous(uint64_t schema = 0) {
    return Wrap(internal::SharedValueHandle::CreateAnonymous(sizeof(T), schema));
  }

  // For reading: what Share has made, which stays the caller's, and may be closed.
  //   kInvalidArgument    of another size or schema
  //   kDataLoss           no such value's
  //   kResourceExhausted  at the limit of descriptors or mappings
  static absl::StatusOr<SharedValue> FromDescriptors(const SharedValueDescriptors& descriptors,
                                                     uint64_t schema = 0) {
    return Wrap(internal::SharedValueHandle::FromDescriptors(descriptors, sizeof(T), schema));
  }

  // Opens a value of this node as its writer, of which it has one at a time; makes it if there is
  // none. Values have names of their own, apart from regions.
  //   kFailedPrecondition  another handle is its writer; the one that is there is of another size
  //                        or schema
  // and as SharedRegion::Create.
  static absl::StatusOr<SharedValue> Create(Process& process, absl::string_view name,
                                            uint64_t schema = 0,
                                            const NamedRegionOptions& options = {},
                                            absl::Time deadline = absl::Now() + absl::Seconds(10)) {
    return Wrap(
        internal::SharedValueHandle::Create(process, name, sizeof(T), schema, options, deadline));
  }

  // For reading: one that is there, of this node or another's. kFailedPrecondition for one of
  // another size or schema, and as SharedRegion::Open.
  static absl::StatusOr<SharedValue> Open(Process& process, absl::string_view name,
                                          uint64_t schema = 0,
                                          absl::Time deadline = absl::Now() + absl::Seconds(10)) {
    return Wrap(internal::SharedValueHandle::Open(process, name, sizeof(T), schema, deadline));
  }

  // As SharedRegion::Destroy.
  static absl::Status Destroy(Process& process, absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10)) {
    return internal::SharedValueHandle::Destroy(process, name, deadline);
  }

  // New descriptors for a reader, which the caller closes; closed on exec, as
  // SharedRegion::Share's. kFailedPrecondition for one with a name, by which it is to be opened.
  absl::StatusOr<SharedValueDescriptors> Share() const { return handle_.Share(); }

  // Makes `value` the next version. It never waits. kPermissionDenied for a reader; of one with a
  // name kUnavailable when it was destroyed, kAborted when this process was given up.
  absl::Status Publish(const T& value) { return handle_.Publish(&value); }

  // The last version. It never waits; it copies again only when so many new versions came meanwhile
  // that it may have been overwritten, of which a value has at least three.
  //   kNotFound     nothing was published yet
  //   kUnavailable  versions came too fast to copy one, a thousand times
  //   kDataLoss     its memory is not well-formed
  absl::StatusOr<Versioned<T>> Read() const {
    Versioned<T> read;
    return Finish(handle_.Read(&read.value), &read);
  }

  // Waits for a version newer than `version`, and returns the last one then; versions between may
  // be passed over. As Read, but
  //   kDeadlineExceeded  there was none until `deadline`
  //   kUnavailable       also: its writer has let it go, or, if it has a name, it was destroyed,
  //                      and there will be none
  //   kAborted           of one with a name: this process is detached
  absl::StatusOr<Versioned<T>> WaitNewer(uint64_t version,
                                         absl::Time deadline = absl::InfiniteFuture()) const {
    Versioned<T> read;
    return Finish(handle_.WaitNewer(version, &read.value, deadline), &read);
  }

  // The number of the last version; 0 without one, and in the child of a fork.
  uint64_t version() const { return handle_.version(); }

  // Whether this program writes it.
  bool writes() const { return handle_.writes(); }

 private:
  friend class WaitSet;
  explicit SharedValue(internal::SharedValueHandle handle) : handle_(std::move(handle)) {}

  static absl::StatusOr<SharedValue> Wrap(absl::StatusOr<internal::SharedValueHandle> handle) {
    if (!handle.ok()) return handle.status();
    return SharedValue(*std::move(handle));
  }
  static absl::StatusOr<Versioned<T>> Finish(absl::StatusOr<uint64_t> version, Versioned<T>* read) {
    if (!version.ok()) return version.status();
    read->version = *version;
    return *std::move(read);
  }

  internal::SharedValueHandle handle_;
};

}  // namespace mailrail

#endif  // MAILRAIL_SHARED_VALUE_H_
