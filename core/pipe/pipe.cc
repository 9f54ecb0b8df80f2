#include "mailrail/pipe.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/lane/cell_layout.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/process/sender_impl.h"

namespace mailrail {
namespace {

// The most that one message of a pipe has, and that each writer may have waiting.
constexpr MailboxOptions PipeMailbox(bool owned) {
  MailboxOptions options;
  options.max_message_bytes = kPipeAtomicBytes;
  options.capacity_messages = 1024;
  options.policy = ReceivePolicy::kExclusive;
  options.owned = owned;
  options.pipe = true;
  return options;
}

// How long a writer waits for room before it looks whether somebody reads.
constexpr absl::Duration kLookForReaders = absl::Milliseconds(50);

// Opens a pipe by `open`, which says kNotFound when there is none, and makes it if it is to be
// made.
template <typename Opened>
absl::StatusOr<Opened> OpenPipe(Process& process, absl::string_view name,
                                const PipeOptions& options, absl::Time deadline,
                                absl::StatusOr<Opened> (Process::*open)(absl::string_view,
                                                                        absl::Time)) {
  const absl::StatusOr<QualifiedName> parsed = ParseQualifiedName("mailbox", name);
  if (!parsed.ok()) return parsed.status();
  const bool here = parsed->node.empty() || parsed->node == process.id().node();
  const bool create = options.create && here;
  while (true) {
    const absl::StatusOr<MailboxState> state = process.StatMailbox(name, deadline);
    if (state.ok() && !state->options.pipe) {
      return absl::FailedPreconditionError(absl::StrCat("'", name, "' is a mailbox, and no pipe"));
    }
    if (state.ok()) {
      absl::StatusOr<Opened> opened = (process.*open)(name, deadline);
      // It may have been destroyed meanwhile, and made anew.
      if (!absl::IsNotFound(opened.status()) || !create) return opened;
    } else if (!absl::IsNotFound(state.status()) || !create) {
      return state.status();
    }
    const absl::Status made = process.CreateMailbox(name, PipeMailbox(options.owned), deadline);
    // Somebody else may have been quicker.
    if (!made.ok() && !absl::IsAlreadyExists(made)) return made;
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("the pipe '", name, "' was made and destroyed again and again"));
    }
  }
}

}  // namespace

PipeWriter::PipeWriter(Sender sender)
    : sender_(std::move(sender)),
      first_(internal::SenderAccess::Impl(sender_).lane->sequence(0) + 1) {}
PipeWriter::PipeWriter(PipeWriter&&) noexcept = default;
PipeWriter& PipeWriter::operator=(PipeWriter&&) noexcept = default;
PipeWriter::~PipeWriter() = default;

absl::StatusOr<PipeWriter> PipeWriter::Open(Process& process, absl::string_view name,
                                            const PipeOptions& options, absl::Time deadline) {
  absl::StatusOr<Sender> sender =
      OpenPipe<Sender>(process, name, options, deadline, &Process::ConnectMailbox);
  if (!sender.ok()) return sender.status();
  return PipeWriter(*std::move(sender));
}

bool PipeWriter::broken() {
  OutgoingLane& lane = *internal::SenderAccess::Impl(sender_).lane;
  const absl::optional<uint32_t> readers = lane.receivers();
  was_read_ |= readers.value_or(0) > 0;
  if (readers != 0u) return false;
  if (!was_read_ && lane.to_near_mailbox() && lane.sequence(0) >= first_) {
    // Somebody came and went while nobody looked, if what this wrote first was received.
    const absl::optional<CellState> first = lane.StateOf(0, first_);
    // One that nobody has claimed yet has the state of what was in its slot before.
    was_read_ = !first.has_value() ||
                (first->phase == Phase::kDone && first->sequence == static_cast<uint32_t>(first_));
  }
  return was_read_;
}

absl::Status PipeWriter::Write(absl::string_view bytes, absl::Time deadline, size_t* written) {
  size_t sent = 0;
  absl::Status status;
  while (sent < bytes.size() && status.ok()) {
    const absl::string_view part = bytes.substr(sent, kPipeAtomicBytes);
    if (broken()) {
      status = absl::UnavailableError("the pipe is broken: nobody reads it any more");
      break;
    }
    const absl::Time until = std::min(deadline, absl::Now() + kLookForReaders);
    status = sender_.Send(part, {}, until);
    if (status.ok()) {
      sent += part.size();
    } else if (absl::IsDeadlineExceeded(status) && until < deadline) {
      status = absl::OkStatus();  // there may be nobody any more who would make room
    }
  }
  if (written != nullptr) *written = sent;
  return status;
}

PipeReader::PipeReader(PipeReader&&) noexcept = default;
PipeReader& PipeReader::operator=(PipeReader&&) noexcept = default;
PipeReader::~PipeReader() = default;

absl::StatusOr<PipeReader> PipeReader::Open(Process& process, absl::string_view name,
                                            const PipeOptions& options, absl::Time deadline) {
  absl::StatusOr<Receiver> receiver =
      OpenPipe<Receiver>(process, name, options, deadline, &Process::OpenMailbox);
  if (!receiver.ok()) return receiver.status();
  return PipeReader(*std::move(receiver));
}

absl::StatusOr<absl::string_view> PipeReader::ReadView(absl::Time deadline) {
  if (read_ == current_.body().size()) {
    current_ = Message();
    read_ = 0;
    absl::StatusOr<Message> next = receiver_.Receive(deadline);
    if (!next.ok()) return next.status();
    current_ = *std::move(next);
  }
  const absl::string_view bytes = current_.body().substr(read_);
  read_ = current_.body().size();
  return bytes;
}

absl::StatusOr<size_t> PipeReader::Read(absl::Span<char> buffer, absl::Time deadline) {
  if (buffer.empty()) return absl::InvalidArgumentError("a read into an empty buffer");
  const absl::StatusOr<absl::string_view> bytes = ReadView(deadline);
  if (!bytes.ok()) return bytes.status();
  const size_t count = bytes->copy(buffer.data(), buffer.size());
  read_ -= bytes->size() - count;
  return count;
}

absl::StatusOr<std::string> MakeAnonymousPipe(Process& process, absl::Time deadline) {
  std::random_device random;
  std::string name = "_pipe.";
  for (int i = 0; i < 4; ++i) absl::StrAppend(&name, absl::Hex(random(), absl::kZeroPad8));
  if (absl::Status status = process.CreateMailbox(name, PipeMailbox(/*owned=*/true), deadline);
      !status.ok()) {
    return status;
  }
  return absl::StrCat(name, "@", process.id().node());
}

namespace {

// One direction's pipe: `name.1`, `name.1@node`.
absl::StatusOr<std::string> Direction(absl::string_view name, int direction) {
  absl::StatusOr<QualifiedName> parsed = ParseQualifiedName("mailbox", name);
  if (!parsed.ok()) return parsed.status();
  absl::StrAppend(&parsed->name, ".", direction);
  return parsed->ToString();
}

}  // namespace

absl::StatusOr<Fifo> Fifo::Create(Process& process, absl::string_view name,
                                  const PipeOptions& options, absl::Time deadline) {
  const absl::StatusOr<std::string> first = Direction(name, 1), second = Direction(name, 2);
  if (!first.ok()) return first.status();
  absl::StatusOr<PipeReader> reader = PipeReader::Open(process, *first, options, deadline);
  if (!reader.ok()) return reader.status();
  absl::StatusOr<PipeWriter> writer = PipeWriter::Open(process, *second, options, deadline);
  if (!writer.ok()) return writer.status();
  return Fifo(*std::move(reader), *std::move(writer));
}

absl::StatusOr<Fifo> Fifo::Open(Process& process, absl::string_view name, absl::Time deadline) {
  const absl::StatusOr<std::string> first = Direction(name, 1), second = Direction(name, 2);
  if (!first.ok()) return first.status();
  const PipeOptions options = {.create = false};
  absl::StatusOr<PipeReader> reader = PipeReader::Open(process, *second, options, deadline);
  if (!reader.ok()) return reader.status();
  absl::StatusOr<PipeWriter> writer = PipeWriter::Open(process, *first, options, deadline);
  if (!writer.ok()) return writer.status();
  return Fifo(*std::move(reader), *std::move(writer));
}

absl::Status Fifo::Destroy(Process& process, absl::string_view name, absl::Time deadline) {
  absl::Status status;
  for (const int direction : {1, 2}) {
    const absl::StatusOr<std::string> pipe = Direction(name, direction);
    if (!pipe.ok()) return pipe.status();
    status.Update(process.DestroyMailbox(*pipe, deadline));
  }
  return status;
}

}  // namespace mailrail
