#include <algorithm>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/process/receiver_impl.h"
#include "core/shm/futex.h"
#include "mailrail/wait_set.h"

namespace mailrail {

absl::StatusOr<size_t> WaitAny(absl::Span<Receiver* const> receivers, absl::Time deadline) {
  if (receivers.empty() || receivers.size() >= kMaxFutexWords) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot wait for ", receivers.size(), " receivers, only for 1 to ", kMaxFutexWords - 1));
  }
  std::vector<internal::ReceiverImpl*> impls;
  for (Receiver* receiver : receivers) impls.push_back(internal::ReceiverAccess::Impl(receiver));
  if (absl::Status status = impls[0]->process()->CheckUsable(); !status.ok()) return status;
  const auto ready = [&]() -> size_t {
    return static_cast<size_t>(
        std::find_if(impls.begin(), impls.end(), [](auto* impl) { return impl->Ready(); }) -
        impls.begin());
  };
  size_t index = ready();
  if (index < impls.size()) return index;
  // What made a receiver ready stays wanted until it is received.
  const absl::Cleanup unpark = [&] {
    for (size_t i = 0; i < impls.size(); ++i) impls[i]->Unpark(/*keep_wanted=*/i == index);
  };
  while (true) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("no receiver is ready");
    std::vector<FutexWord> words;
    absl::Duration longest = left;
    for (internal::ReceiverImpl* impl : impls) {
      words.push_back(impl->Park(&longest));
    }
    index = ready();
    if (index == impls.size()) {
      FutexWaitAny(words, longest);
      index = ready();
    }
    if (index < impls.size()) return index;
    impls[0]->process()->connection().ReadNotices();
    index = ready();
    if (index < impls.size()) return index;
  }
}

}  // namespace mailrail
