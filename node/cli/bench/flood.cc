// throughput, fanin and mailbox: senders that send as much as they can, receivers that take it.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "node/cli/bench/benches.h"
#include "node/cli/bench/crew.h"
#include "node/cli/bench/exchange.h"
#include "node/cli/bench/traffic.h"

namespace mailrail::bench {
namespace {

struct Shared {
  std::atomic<int64_t> begin_ns{0};
  std::atomic<uint64_t> senders_done{0}, receivers_done{0};
  SliceMeter meters[Crew::kMaxMembers];  // of the receivers
  // How many messages, and what they carried: both ends must have counted the same.
  alignas(128) std::atomic<uint64_t> sent{0}, sent_sum{0};
  alignas(128) std::atomic<uint64_t> received{0}, received_sum{0};
};

class Flood {
 public:
  Flood(const BenchArguments& arguments, bool mailbox)
      : arguments_(arguments), times_(SliceTimes::Of(arguments.seconds)), crew_(arguments.attach) {
    style_.size = arguments.size;
    style_.in_place = arguments.in_place;
    style_.batch = arguments.batch;
    // The caller's pid: no other has a mailbox of this name.
    if (mailbox) mailbox_ = absl::StrCat("bench-", getpid());
    const bool broadcasts = arguments.mailbox.policy == ReceivePolicy::kBroadcast;
    is_queue_ = mailbox && arguments.mailbox.order == MailboxOrder::kQueue && !broadcasts;
    copies_ = mailbox && broadcasts ? arguments.receivers : 1;
    style_.keys = arguments.keys;
    style_.receipts = arguments.receipts;
    // The first sender and the first receiver come first: L is measured between them.
    const size_t members = arguments.senders + arguments.receivers;
    mode_ = ModeFor(arguments.mode, members, crew_.processors());
    AddSender(0);
    AddReceiver(0);
    for (size_t i = 1; i < arguments.senders; ++i) AddSender(i);
    for (size_t i = 1; i < arguments.receivers; ++i) AddReceiver(i);
  }

  absl::StatusOr<Report> Run(const std::string& bench, const std::string& name) {
    const absl::Status status = crew_.Run();
    if (!mailbox_.empty()) RemoveMailbox();
    if (!status.ok()) return status;
    if (copies_ * shared_->sent != shared_->received ||
        copies_ * shared_->sent_sum != shared_->received_sum) {
      return absl::DataLossError(absl::StrCat("sent ", shared_->sent.load(), " messages, received ",
                                              shared_->received.load(), ", or others"));
    }
    std::vector<double> slices(times_.slices);
    for (size_t slice = 0; slice < slices.size(); ++slice) {
      for (size_t i = 0; i < arguments_.receivers; ++i) {
        slices[slice] += shared_->meters[i].Rate(slice);
      }
    }
    Report report;
    report.bench = bench;
    report.size = arguments_.size;
    report.mode = ModeName(mode_);
    report.rows.push_back(RateRow(name, slices, shared_->received));
    report.topology = crew_.topology();
    report.lines_ns = crew_.lines_ns();
    return report;
  }

 private:
  void AddSender(size_t index) {
    crew_.Add(arguments_.senders == 1 ? "sender" : absl::StrCat("sender ", index + 1),
              [this, index] { return SendAll(index); });
  }
  void AddReceiver(size_t index) {
    crew_.Add(arguments_.receivers == 1 ? "receiver" : absl::StrCat("receiver ", index + 1),
              [this, index] { return ReceiveAll(index); });
  }

  absl::Status SendAll(size_t index) {
    absl::StatusOr<Process> process = crew_.Join();
    if (!process.ok()) return process.status();
    if (index == 0 && !mailbox_.empty()) {
      MailboxOptions options = arguments_.mailbox;
      options.max_message_bytes = std::max(options.max_message_bytes, style_.size);
      if (absl::Status status = process->CreateMailbox(mailbox_, options); !status.ok()) {
        return status;
      }
    }
    crew_.Meet();
    constexpr size_t kFirstReceiver = 1;
    absl::StatusOr<Sender> channel = mailbox_.empty() ? process->Connect(crew_.IdOf(kFirstReceiver))
                                                      : process->ConnectMailbox(mailbox_);
    if (!channel.ok()) return channel.status();
    NumberedSender sender(*std::move(channel), style_);
    crew_.MeasureLine();
    if (index == 0) shared_->begin_ns = NowNs();
    crew_.Meet();
    if (absl::Status status = SendUntil(sender, shared_->begin_ns + times_.total_ns());
        !status.ok()) {
      return status;
    }
    ++shared_->senders_done;
    if (absl::Status status = sender.TakeReceipts(); !status.ok()) return status;
    if (index == 0) {
      while (shared_->senders_done < arguments_.senders) absl::SleepFor(absl::Microseconds(50));
      // One at a time, so that no receiver takes another's in one batch.
      for (size_t i = 0; i < arguments_.receivers; ++i) {
        if (absl::Status status = sender.SendEnd(); !status.ok()) return status;
        while (shared_->receivers_done <= i) absl::SleepFor(absl::Microseconds(50));
      }
    }
    crew_.MeasureLine();
    return absl::OkStatus();
  }

  absl::Status SendUntil(NumberedSender& sender, int64_t until) {
    const uint64_t step = std::max<uint64_t>(ClockStep(style_.size) / style_.batch, 1);
    uint64_t number = 0, sum = 0;
    do {
      for (uint64_t i = 0; i < step; ++i) {
        if (absl::Status status = sender.SendBatch(number + 1); !status.ok()) return status;
        for (uint64_t j = 0; j < style_.batch; ++j) sum += Carried(++number, style_.size);
      }
    } while (NowNs() < until);
    shared_->sent += number;
    shared_->sent_sum += sum;
    return absl::OkStatus();
  }

  absl::Status ReceiveAll(size_t index) {
    absl::StatusOr<Process> process = crew_.Join();
    if (!process.ok()) return process.status();
    crew_.Meet();
    absl::optional<Receiver> opened;
    if (!mailbox_.empty()) {
      absl::StatusOr<Receiver> receiver =
          process->OpenMailbox(mailbox_, {.acknowledgement = arguments_.acknowledgement});
      if (!receiver.ok()) return receiver.status();
      opened.emplace(*std::move(receiver));
    }
    Receiver& receiver = opened.has_value() ? *opened : process->inbox();
    receiver.set_wait_mode(mode_);
    crew_.MeasureLine();
    crew_.Meet();
    SliceMeter& meter = shared_->meters[index];
    meter.Start(times_, shared_->begin_ns, ClockStep(style_.size));
    const absl::Status status =
        style_.batch == 1 ? Receive(receiver, meter) : ReceiveBatches(receiver, meter);
    if (!status.ok()) return status;
    // What is still to come is then the others'.
    opened.reset();
    ++shared_->receivers_done;
    crew_.MeasureLine();
    return absl::OkStatus();
  }

  absl::Status Receive(Receiver& receiver, SliceMeter& meter) {
    uint64_t count = 0, sum = 0;
    bool end = false;
    while (true) {
      absl::StatusOr<Message> message = end ? receiver.TryReceive() : receiver.Receive();
      if (end && absl::IsDeadlineExceeded(message.status())) break;
      if (!message.ok()) return message.status();
      if (IsEnd(*message, style_.size)) {
        if (absl::Status status = Acknowledge(*message); !status.ok()) return status;
        if (is_queue_) break;
        end = true;
        continue;
      }
      const absl::StatusOr<uint64_t> number = NumberIn(*message, style_.size, style_.body);
      if (!number.ok()) return number.status();
      if (absl::Status status = Acknowledge(*message); !status.ok()) return status;
      sum += *number;
      ++count;
      meter.Add(1);
    }
    shared_->received += count;
    shared_->received_sum += sum;
    return absl::OkStatus();
  }

  absl::Status ReceiveBatches(Receiver& receiver, SliceMeter& meter) {
    uint64_t count = 0, sum = 0;
    bool end = false;
    while (!end || !is_queue_) {
      absl::StatusOr<std::vector<Message>> batch =
          receiver.ReceiveBatch(style_.batch, end ? absl::InfinitePast() : absl::InfiniteFuture());
      if (end && absl::IsDeadlineExceeded(batch.status())) break;
      if (!batch.ok()) return batch.status();
      for (Message& message : *batch) {
        if (absl::Status status = Acknowledge(message); !status.ok()) return status;
        if (IsEnd(message, style_.size)) {
          end = true;
          continue;
        }
        const absl::StatusOr<uint64_t> number = NumberIn(message, style_.size, style_.body);
        if (!number.ok()) return number.status();
        sum += *number;
        ++count;
      }
      meter.Add(static_cast<uint32_t>(batch->size()));
    }
    shared_->received += count;
    shared_->received_sum += sum;
    return absl::OkStatus();
  }

  // When it was leased.
  static absl::Status Acknowledge(Message& message) {
    return message.leased() ? message.Acknowledge() : absl::OkStatus();
  }

  void RemoveMailbox() {
    AttachOptions options = arguments_.attach;
    options.autostart = false;
    absl::StatusOr<Process> process = Process::Attach(options);
    // It may not have been made.
    if (process.ok()) process->DestroyMailbox(mailbox_).IgnoreError();
  }

  const BenchArguments arguments_;
  const SliceTimes times_;
  Crew crew_;
  SharedWithForks<Shared> shared_;
  NumberedSender::Style style_;
  WaitMode mode_;
  std::string mailbox_;
  // Whether what ends a flow is received after all that was sent before it, by whomever. An inbox
  // has an order for each sender.
  bool is_queue_ = false;
  uint64_t copies_ = 1;  // of each message that is received
};

std::string HowMany(uint64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

}  // namespace

absl::StatusOr<Report> RunThroughput(const BenchArguments& arguments) {
  std::string name = "one way, direct";
  if (arguments.batch > 1) absl::StrAppend(&name, ", batches of ", arguments.batch);
  if (arguments.in_place) absl::StrAppend(&name, ", written in place");
  return Flood(arguments, /*mailbox=*/false).Run("throughput", name);
}

absl::StatusOr<Report> RunFanin(const BenchArguments& arguments) {
  return Flood(arguments, /*mailbox=*/false)
      .Run("fanin", absl::StrCat(HowMany(arguments.senders, "sender"), " to one inbox"));
}

absl::StatusOr<Report> RunMailbox(const BenchArguments& arguments) {
  return Flood(arguments, /*mailbox=*/true)
      .Run("mailbox", absl::StrCat(HowMany(arguments.senders, "sender"), ", ",
                                   HowMany(arguments.receivers, "receiver"), " of a mailbox"));
}

}  // namespace mailrail::bench
