#include "examples/word_count/coordinator.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "examples/word_count/count.h"
#include "mailrail/protobuf.h"

namespace mailrail::examples {
namespace {

constexpr char kMailbox[] = "chunks";
constexpr size_t kChunkBytes = size_t{64} << 10;
// When no report comes for so long, a worker has died with a chunk.
constexpr absl::Duration kPatience = absl::Minutes(2);
constexpr absl::Duration kPrintEvery = absl::Milliseconds(100);

std::string Key(const ProcessId& id) { return absl::StrCat(id.node(), " ", id.ToString()); }

// Removes the line of progress.
const char* LineStart() { return isatty(STDOUT_FILENO) ? "\r\033[K" : ""; }

}  // namespace

absl::Status Coordinator::Count(const Input& input, size_t workers) {
  input_bytes_ = input.bytes;
  if (absl::Status status = process_->CreateMailbox(kMailbox); !status.ok()) return status;
  absl::Status status = SendChunks(input, workers);
  while (status.ok() && (counted_ < sent_ || answers_ < workers_.size())) {
    status = ReceiveReport(absl::Now() + kPatience);
    PrintProgress();
  }
  elapsed_ = absl::Now() - started_at_;
  absl::PrintF("%s", LineStart());
  status.Update(process_->DestroyMailbox(kMailbox));
  return status;
}

absl::Status Coordinator::SendChunks(const Input& input, size_t workers) {
  absl::StatusOr<Sender> sender = process_->ConnectMailbox(kMailbox);
  if (!sender.ok()) return sender.status();
  ChunkReader reader(input.files, kChunkBytes);
  while (true) {
    absl::StatusOr<std::string> chunk = reader.Next();
    if (!chunk.ok()) return chunk.status();
    if (chunk->empty()) break;
    absl::Status status = sender->Send(*chunk, {}, absl::InfinitePast());
    if (absl::IsDeadlineExceeded(status)) {
      // The mailbox is full: from now on as fast as the workers make room.
      status = StartWorkers(workers);
      if (status.ok()) status = sender->Send(*chunk);
    }
    if (!status.ok()) return status;
    ++sent_;
    // What has been counted meanwhile.
    while (status.ok()) status = ReceiveReport(absl::InfinitePast());
    if (!absl::IsDeadlineExceeded(status)) return status;
    PrintProgress();
  }
  return StartWorkers(workers);
}

absl::Status Coordinator::StartWorkers(size_t count) {
  if (started_) return absl::OkStatus();
  // By this name the workers find us, and join.
  if (absl::Status status = process_->RegisterName("word_count"); !status.ok()) return status;
  while (workers_.size() < count) {
    if (absl::Status status = ReceiveReport(absl::InfiniteFuture()); !status.ok()) return status;
  }
  started_ = true;
  started_at_ = absl::Now();
  return TellWorkers("start");
}

absl::Status Coordinator::ReceiveReport(absl::Time deadline) {
  absl::StatusOr<Message> message = process_->inbox().Receive(deadline);
  if (!message.ok()) return message.status();
  Report report;
  if (absl::Status status = ParseProto(*message, &report); !status.ok()) return status;
  if (report.has_joined()) return AddWorker(message->sender());

  const auto found = workers_.find(Key(message->sender()));
  if (found == workers_.end()) return absl::OkStatus();
  Worker& worker = found->second;
  if (report.has_status()) {
    worker.counted = std::max(worker.counted, report.status().chunks());
    ++answers_;
    PrintStatus(worker);
    return absl::OkStatus();
  }
  ++counted_;
  ++worker.chunks;
  worker.counted = std::max(worker.counted, worker.chunks);
  worker.bytes += report.counted().bytes();
  Add(report.counted(), &total_);
  if (asked_ || total_.bytes() < input_bytes_ / 2) return absl::OkStatus();
  asked_ = true;
  asked_at_ = absl::Now();
  return TellWorkers("status");
}

absl::Status Coordinator::AddWorker(const ProcessId& id) {
  if (started_) return absl::OkStatus();  // too late: it waits for a start, and ends with us
  absl::StatusOr<Sender> sender = process_->Connect(id);
  if (!sender.ok()) return sender.status();
  workers_.emplace(Key(id), Worker{id, *std::move(sender)});
  return absl::OkStatus();
}

absl::Status Coordinator::TellWorkers(absl::string_view message) {
  for (auto& [key, worker] : workers_) {
    const absl::Status status = worker.sender.Send(message, {.priority = kMaxPriority});
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void Coordinator::PrintStatus(const Worker& worker) {
  uint64_t done = 0;
  for (const auto& [key, each] : workers_) done += each.counted + 1;  // and one in its hands
  absl::PrintF("%sstatus of worker %s answered in %.1f ms, with %d chunks still queued\n",
               LineStart(), worker.id.ToString(),
               absl::ToDoubleMilliseconds(absl::Now() - asked_at_), sent_ - std::min(sent_, done));
}

void Coordinator::PrintProgress() {
  if (!started_ || !isatty(STDOUT_FILENO) || absl::Now() - printed_at_ < kPrintEvery) return;
  printed_at_ = absl::Now();
  absl::PrintF("%scounted %.1f of %.1f MB, %d chunks queued", LineStart(),
               static_cast<double>(total_.bytes()) / 1e6, static_cast<double>(input_bytes_) / 1e6,
               sent_ - counted_);
  fflush(stdout);
}

}  // namespace mailrail::examples
