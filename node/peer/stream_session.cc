#include "node/peer/stream_session.h"

#include <utility>

#include "node/peer/handshake.h"

namespace mailrail {

StreamSession::StreamSession(bool dialed, proto::Hello peer, Owner* owner, SessionHandler* handler)
    : dialed_(dialed), owner_(owner), handler_(handler), peer_(std::move(peer)) {}

void StreamSession::Begin(std::optional<proto::Hello> hello) {
  self_ = shared_from_this();
  owner_->OnStreamStarted();
  Step write = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    ++starting_;
    if (hello.has_value()) {
      *outgoing_.mutable_hello() = *std::move(hello);
      write = WriteStep();
    }
  }
  Run(write);
  Run(Step::kRead);
}

void StreamSession::Open(std::optional<proto::Hello> answer) {
  Step step = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    opened_ = true;
    delivering_ = true;
    if (answer.has_value() && !ending_) {
      *outgoing_.mutable_hello() = *std::move(answer);
      step = WriteStep();
    }
  }
  Run(step);
  handler_->OnOpen(shared_from_this());
  Deliver(/*read_on=*/true);
}

void StreamSession::Refuse(const absl::Status& why) {
  Step step = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    if (ending_) return;
    *outgoing_.mutable_refusal() = MakeRefusal(why);
    draining_ = read_ended_ = true;  // nothing is read before Open()
    step = WriteStep();
  }
  Run(step);
}

void StreamSession::Write(std::vector<proto::Frame> frames) {
  Step step = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    if (!opened_ || draining_ || ending_ || write_broken_) return;
    for (proto::Frame& frame : frames) queue_.Add(std::move(frame));
    if (queue_.control_bytes() > kMaxControlBytes) {
      SetEnd(/*abrupt=*/true, absl::ResourceExhaustedError("the peer sends, and does not read"));
    }
    step = NextStep();
  }
  Run(step);
}

size_t StreamSession::queued_bytes() const {
  absl::MutexLock lock(&mu_);
  return queue_.bytes() + bytes_in_flight_;
}

void StreamSession::ReadOn() {
  Step step = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    if (++reads_asked_ > 0 || ending_) return;
    ++starting_;
    step = Step::kRead;
  }
  Run(step);
}

void StreamSession::Close(absl::Status why) {
  Step step = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    if (why.ok()) why = absl::CancelledError("the session was closed");
    // A peer that dialed and has no session yet reads nothing but the end, so it can be told why,
    // unless it does not even read its refusal.
    SetEnd(/*abrupt=*/opened_ || dialed_ || draining_, std::move(why));
    step = NextStep();
  }
  Run(step);
}

void StreamSession::CloseUnlessGreeted(absl::Status why) {
  Step step = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    if (greeted_) return;
    SetEnd(/*abrupt=*/dialed_, std::move(why));
    step = NextStep();
  }
  Run(step);
}

void StreamSession::Drain(absl::Status why) {
  Step step = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    if (opened_) {
      if (why_.ok()) why_ = std::move(why);
      draining_ = true;
    } else {
      SetEnd(/*abrupt=*/dialed_, std::move(why));
    }
    step = NextStep();
  }
  Run(step);
}

void StreamSession::SetEnd(bool abrupt, absl::Status why) {
  if (ending_) return;
  ending_ = true;
  abrupt_ = abrupt;
  if (why_.ok()) why_ = std::move(why);
  queue_.Clear();
}

StreamSession::Step StreamSession::WriteStep() {
  write_in_flight_ = true;
  ++starting_;
  return Step::kWrite;
}

StreamSession::Step StreamSession::NextStep() {
  if (!ending_ && !write_in_flight_) {
    if (!queue_.empty()) {
      bytes_in_flight_ = queue_.TakeBatch(outgoing_.mutable_batch());
      return WriteStep();
    }
    if (draining_ && read_ended_) {
      SetEnd(/*abrupt=*/false, absl::OkStatus());
    } else if (draining_ && !farewell_) {
      farewell_ = true;
      if (dialed_) {
        ++starting_;
        return Step::kWritesDone;
      }
      *outgoing_.mutable_refusal() = MakeRefusal(why_);
      return WriteStep();
    }
  }
  if (!ending_ || ended_ || starting_ > 0) return Step::kNone;
  ended_ = true;
  return Step::kEnd;
}

void StreamSession::Run(Step step) {
  while (step != Step::kNone) {
    switch (step) {
      case Step::kNone:
        break;
      case Step::kRead:
        DoRead(&incoming_);
        break;
      case Step::kWrite:
        DoWrite(outgoing_);
        break;
      case Step::kWritesDone:
        DoWritesDone();
        break;
      case Step::kEnd: {
        bool abrupt;
        absl::Status why;
        {
          absl::MutexLock lock(&mu_);
          abrupt = abrupt_;
          why = why_;
        }
        DoEnd(abrupt, why);
        return;
      }
    }
    absl::MutexLock lock(&mu_);
    --starting_;
    step = NextStep();
  }
}

void StreamSession::ReadDone(bool ok) {
  if (!ok) {
    ReadEnded();
    return;
  }
  bool first = false;
  {
    absl::MutexLock lock(&mu_);
    if (ending_) return;
    if (!opened_) {
      first = greeted_ = true;
    } else {
      batch_due_ = true;
      if (std::exchange(delivering_, true)) return;
    }
  }
  if (first) {
    owner_->OnFirstMessage(shared_from_this(), std::move(incoming_));
  } else {
    Deliver(/*read_on=*/false);
  }
}

void StreamSession::ReadEnded() {
  Step step = Step::kNone;
  {
    absl::MutexLock lock(&mu_);
    read_ended_ = true;
    if (!dialed_ && opened_) {
      draining_ = true;  // the peer may still listen
    } else {
      SetEnd(/*abrupt=*/false, absl::OkStatus());
    }
    step = NextStep();
  }
  Run(step);
}

void StreamSession::WriteDone(bool ok) {
  outgoing_.Clear();
  Step step = Step::kNone;
  bool deliver = false;
  {
    absl::MutexLock lock(&mu_);
    write_in_flight_ = false;
    const size_t before = queue_.bytes() + std::exchange(bytes_in_flight_, 0);
    if (!ok) {
      // The end shows in the read, after all that the peer had sent.
      write_broken_ = true;
      queue_.Clear();
    } else if (before >= kLowMarkBytes && queue_.bytes() < kLowMarkBytes && !ending_) {
      writable_due_ = true;
      deliver = !std::exchange(delivering_, true);
    }
    step = NextStep();
  }
  Run(step);
  if (deliver) Deliver(/*read_on=*/false);
}

// Makes the calls that are due. `delivering_` was set by the caller; it reads on after a batch, or
// when `read_on` says so.
void StreamSession::Deliver(bool read_on) {
  const std::shared_ptr<StreamSession> self = shared_from_this();
  bool put_off = false;
  for (;;) {
    bool writable = false;
    {
      absl::MutexLock lock(&mu_);
      writable = std::exchange(writable_due_, false);
      const bool batch = !writable && std::exchange(batch_due_, false);
      if (!writable && !batch) {
        delivering_ = false;
        // ReadOn() may have come before OnBatch had returned.
        if (put_off && --reads_asked_ < 0) return;
        if (!read_on || ending_) return;
        ++starting_;
        break;
      }
      if (ending_) continue;
      if (batch) read_on = true;
    }
    if (writable) {
      handler_->OnWritable(self);
    } else if (incoming_.has_batch()) {
      put_off = !handler_->OnBatch(self, std::move(*incoming_.mutable_batch()));
    } else if (incoming_.has_refusal() && dialed_) {
      Drain(absl::UnavailableError(RefusalStatus(incoming_.refusal()).message()));
    } else {
      Close(absl::InvalidArgumentError("the peer sent what is not a Batch in an open session"));
    }
  }
  Run(Step::kRead);
}

void StreamSession::Done(absl::Status why) {
  {
    absl::MutexLock lock(&mu_);
    if (!why_.ok()) {
      why = why_;
    } else if (why.ok()) {
      why = absl::UnavailableError("the peer ended the session");
    } else if (opened_ && !absl::IsUnavailable(why)) {
      why = absl::UnavailableError(why.ToString());
    }
  }
  // The reference may be the last: nothing of this object is touched after it.
  owner_->OnStreamDone(std::move(self_), std::move(why));
}

}  // namespace mailrail
