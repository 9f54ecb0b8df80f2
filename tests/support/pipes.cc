#include "tests/support/pipes.h"

#include <utility>

#include "tests/support/party.h"
#include "tests/support/require.h"

namespace mailrail {

using party::PipeCall;

absl::Status Pipes::Open(const PipeCall& call, absl::Time deadline) {
  const auto end = std::make_shared<End>();
  absl::Status status;
  const PipeOptions options = {.create = !call.must_exist()};
  const auto keep = [&status](auto opened, auto* where) {
    status = opened.status();
    if (opened.ok()) {
      *where = std::make_unique<typename decltype(opened)::value_type>(*std::move(opened));
    }
  };
  switch (call.what()) {
    case PipeCall::OPEN_READER:
      keep(PipeReader::Open(*process_, call.name(), options, deadline), &end->reader);
      break;
    case PipeCall::OPEN_WRITER:
      keep(PipeWriter::Open(*process_, call.name(), options, deadline), &end->writer);
      break;
    default: {
      absl::StatusOr<Fifo> fifo = call.what() == PipeCall::CREATE_FIFO
                                      ? Fifo::Create(*process_, call.name(), options, deadline)
                                      : Fifo::Open(*process_, call.name(), deadline);
      status = fifo.status();
      if (!fifo.ok()) break;
      end->reader = std::make_unique<PipeReader>(std::move(fifo->reader()));
      end->writer = std::make_unique<PipeWriter>(std::move(fifo->writer()));
    }
  }
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  ends_[call.name()] = end;
  return absl::OkStatus();
}

party::PipeResult Pipes::Do(const PipeCall& call, absl::Time deadline) {
  party::PipeResult result;
  absl::Status status;
  std::shared_ptr<End> end;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = ends_.find(call.name());
    if (found != ends_.end()) end = found->second;
  }
  switch (call.what()) {
    case PipeCall::CLOSE: {
      end = nullptr;
      absl::MutexLock lock(&mutex_);
      ends_.erase(call.name());
      break;
    }
    case PipeCall::WRITE: {
      Require(end != nullptr && end->writer != nullptr, "an open writer");
      size_t written = 0;
      status = end->writer->Write(call.bytes(), deadline, &written);
      result.set_written(written);
      break;
    }
    case PipeCall::READ: {
      Require(end != nullptr && end->reader != nullptr, "an open reader");
      std::string buffer(call.size(), '\0');
      const absl::StatusOr<size_t> count =
          end->reader->Read(absl::MakeSpan(buffer.data(), buffer.size()), deadline);
      status = count.status();
      if (count.ok()) result.set_bytes(buffer.substr(0, *count));
      break;
    }
    default:
      status = Open(call, deadline);
  }
  *result.mutable_status() = ToProto(status);
  return result;
}

}  // namespace mailrail
