#include "mailrail/wait_set.h"

#include <algorithm>
#include <utility>

#include "core/process/receiver_impl.h"
#include "core/process/wait_set_impl.h"

namespace mailrail {

using internal::ReceiverAccess;
using internal::ReceiverImpl;
using internal::WaitSetImpl;

WaitSet::WaitSet(Process& process)
    : impl_(std::make_unique<WaitSetImpl>(ReceiverAccess::Impl(&process.inbox())->process())) {}
WaitSet::WaitSet(WaitSet&&) noexcept = default;
WaitSet& WaitSet::operator=(WaitSet&&) noexcept = default;
WaitSet::~WaitSet() = default;

absl::Status WaitSet::Add(uint64_t key, Receiver& receiver) {
  ReceiverImpl* const impl = ReceiverAccess::Impl(&receiver);
  if (impl->process() != impl_->process()) {
    return absl::InvalidArgumentError("the receiver is another Process's");
  }
  return impl_->Add(key, impl);
}

absl::Status WaitSet::AddTimer(uint64_t key, absl::Time time) {
  return impl_->AddTimer(key, time, absl::ZeroDuration());
}

absl::Status WaitSet::AddTimer(uint64_t key, absl::Time first, absl::Duration period) {
  if (period <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("a timer's period must be positive");
  }
  return impl_->AddTimer(key, first, period);
}

absl::Status WaitSet::Remove(uint64_t key) { return impl_->Remove(key); }

size_t WaitSet::size() const { return impl_->size(); }

absl::StatusOr<uint64_t> WaitSet::Wait(absl::Time deadline) {
  uint64_t key = 0;
  const absl::StatusOr<size_t> count = impl_->Wait(absl::MakeSpan(&key, 1), deadline);
  if (!count.ok()) return count.status();
  return key;
}

absl::StatusOr<std::vector<uint64_t>> WaitSet::WaitBatch(size_t max, absl::Time deadline) {
  if (max == 0) return absl::InvalidArgumentError("at most 0 keys: that is none");
  std::vector<uint64_t> keys(std::min(max, std::max(impl_->size(), size_t{1})));
  const absl::StatusOr<size_t> count = impl_->Wait(absl::MakeSpan(keys), deadline);
  if (!count.ok()) return count.status();
  keys.resize(*count);
  return keys;
}

void WaitSet::Wake() { impl_->Wake(); }

absl::StatusOr<int> WaitSet::Descriptor() { return impl_->Descriptor(); }

}  // namespace mailrail
