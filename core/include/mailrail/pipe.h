// Pipes and FIFOs: streams of bytes between processes, wherever they are.
#ifndef MAILRAIL_PIPE_H_
#define MAILRAIL_PIPE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mailrail/process.h"

namespace mailrail {

// A pipe is half duplex: many may write to it, one at a time reads. It is a mailbox of the names of
// mailboxes (`log`, `log@alpha`), whose node keeps what was written and not read, whoever dies; so
// writers and readers need not run at the same time. Each writer may have about 4 MiB, and 1024
// writes, waiting to be read; then it waits.
//
// Bytes are read in the order in which they were written, of several writers too. A write of up to
// kPipeAtomicBytes is read as a whole, without bytes of another writer in it, and after its writer
// has died it was written wholly or not at all; a larger one is several such writes.
//
// End of file: when the last process that writes has closed its last writer, or has died, the
// reader is told so once (twice, if the node's agent died just then), behind all that was written.
// Others may write after that: then the next read goes on with it.
//
// Readers and writers are move-only, and used by one thread at a time. They must not outlive their
// Process.
inline constexpr size_t kPipeAtomicBytes = size_t{64} << 10;

struct PipeOptions {
  // Make the pipe, on this node, when there is none. One that is named as another node's is not
  // made (kNotFound).
  bool create = true;

  // A pipe that is made ends with the process that makes it; else when it is destroyed
  // (Process::DestroyMailbox), or its node ends.
  bool owned = false;
};

class PipeWriter {
 public:
  // Waits for nobody to read. kNotFound when there is none and none is to be made;
  // kFailedPrecondition when the name is that of a mailbox that is no pipe; else as
  // Process::CreateMailbox and Process::ConnectMailbox.
  static absl::StatusOr<PipeWriter> Open(Process& process, absl::string_view name,
                                         const PipeOptions& options = {},
                                         absl::Time deadline = absl::Now() + absl::Seconds(10));

  PipeWriter(PipeWriter&&) noexcept;
  PipeWriter& operator=(PipeWriter&&) noexcept;
  ~PipeWriter();

  // Writes all of `bytes`, and waits for room; those of a read that is too short are written later.
  // OK when none are given.
  //   kUnavailable       the pipe is broken: it was read, and nobody reads it any more; or it was
  //                      destroyed
  //   kDeadlineExceeded  the reader has not made room until `deadline`; absl::InfinitePast() does
  //                      not wait
  //   kAborted, kFailedPrecondition, kResourceExhausted  as Sender::Send
  // Of a write of more than kPipeAtomicBytes that fails the first part may have been written:
  // `*written`, unless it is null, says how much.
  absl::Status Write(absl::string_view bytes, absl::Time deadline = absl::InfiniteFuture(),
                     size_t* written = nullptr);

  // Whether it is broken: it was read while this was open, and nobody reads it now. Of a reader of
  // another node's pipe that came and went between two looks, each write being one, this may not
  // know.
  bool broken();

 private:
  explicit PipeWriter(Sender sender);
  Sender sender_;
  uint64_t first_ = 0;  // the number of the first message that this sends
  bool was_read_ = false;
};

class PipeReader {
 public:
  // While another reader has the pipe open reads wait: they take over when it is closed or dies.
  // Errors as PipeWriter::Open.
  static absl::StatusOr<PipeReader> Open(Process& process, absl::string_view name,
                                         const PipeOptions& options = {},
                                         absl::Time deadline = absl::Now() + absl::Seconds(10));

  PipeReader(PipeReader&&) noexcept;
  PipeReader& operator=(PipeReader&&) noexcept;
  // What was taken from the pipe and not read, at most one write, is lost.
  ~PipeReader();

  // Reads what there is, at least one byte and at most as many as `buffer` has, and returns how
  // many; 0: end of file. kUnavailable when the pipe was destroyed, and all that reached this
  // process is read; else as Receiver::Receive. kInvalidArgument for an empty buffer.
  absl::StatusOr<size_t> Read(absl::Span<char> buffer,
                              absl::Time deadline = absl::InfiniteFuture());

  // The same without a copy: what there is next, up to kPipeAtomicBytes, which is good until the
  // next read; empty: end of file.
  absl::StatusOr<absl::string_view> ReadView(absl::Time deadline = absl::InfiniteFuture());

  // For a WaitSet or an event loop, which is told when there may be something to read beside what a
  // read has left for want of room in its buffer. Not to receive from.
  Receiver& receiver() { return receiver_; }

 private:
  explicit PipeReader(Receiver receiver) : receiver_(std::move(receiver)) {}
  Receiver receiver_;
  Message current_;
  size_t read_ = 0;  // of it
};

// An anonymous pipe, owned by `process`: its name, which nobody can guess, for whoever is to have
// an end of it. A child gets it in its arguments or environment, attaches, and opens it by
// PipeReader::Open or PipeWriter::Open with `create` false.
absl::StatusOr<std::string> MakeAnonymousPipe(Process& process,
                                              absl::Time deadline = absl::Now() +
                                                                    absl::Seconds(10));

// A FIFO is full duplex, between two unrelated processes: two pipes, `name.1` and `name.2`. All
// that is said of pipes holds of each direction.
class Fifo {
 public:
  // One end makes it, the other opens it: kNotFound until it is made.
  static absl::StatusOr<Fifo> Create(Process& process, absl::string_view name,
                                     const PipeOptions& options = {},
                                     absl::Time deadline = absl::Now() + absl::Seconds(10));
  static absl::StatusOr<Fifo> Open(Process& process, absl::string_view name,
                                   absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Both of its pipes, and what is in them. kNotFound.
  static absl::Status Destroy(Process& process, absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10));

  // One thread at a time reads, one writes.
  PipeReader& reader() { return reader_; }
  PipeWriter& writer() { return writer_; }

 private:
  Fifo(PipeReader reader, PipeWriter writer)
      : reader_(std::move(reader)), writer_(std::move(writer)) {}
  PipeReader reader_;
  PipeWriter writer_;
};

}  // namespace mailrail

#endif  // MAILRAIL_PIPE_H_
