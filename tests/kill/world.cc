#include "tests/kill/world.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/kill/victim.h"
#include "tests/support/body.h"
#include "tests/support/require.h"

namespace mailrail {
namespace {

constexpr const char* kMailboxes[] = {"common", "work",   "tight", "turn", "bed",
                                      "news",   "strict", "rota",  "keyed"};

MailboxOptions OptionsOf(absl::string_view mailbox) {
  MailboxOptions options;
  if (mailbox == "work" || mailbox == "turn") options.max_message_bytes = World::kWorkMaxBytes;
  if (mailbox == "turn") options.policy = ReceivePolicy::kExclusive;
  if (mailbox == "tight") options.capacity_messages = 1;
  if (mailbox == "news") options.policy = ReceivePolicy::kBroadcast;
  if (mailbox == "strict") options.hold_order = true;
  if (mailbox == "rota") options.distribution = Distribution::kRoundRobin;
  if (mailbox == "keyed") options.distribution = Distribution::kStickyByKey;
  return options;
}

template <typename T>
std::unique_ptr<T> Take(absl::StatusOr<T> made) {
  if (!made.ok()) std::fprintf(stderr, "%s\n", made.status().ToString().c_str());
  Require(made.ok(), "the world");
  return std::make_unique<T>(*std::move(made));
}

// The body is what was sent, and nothing else comes with it.
void ExpectArrives(Receiver& receiver, uint64_t number) {
  const absl::StatusOr<Message> message = receiver.Receive(GoOnDeadline());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(NumberOf(message->body()), number);
  EXPECT_TRUE(IsIntact(message->body()));
  EXPECT_FALSE(message->redelivered());
}

void ExpectEmpty(Receiver& receiver, const char* name) {
  const absl::StatusOr<Message> message = receiver.TryReceive();
  EXPECT_TRUE(absl::IsDeadlineExceeded(message.status()))
      << name << ": "
      << (message.ok() ? absl::StrCat("message ", NumberOf(message->body()), " of ",
                                      message->sender().ToString())
                       : message.status().ToString());
}

}  // namespace

Received::Received(const Message& message)
    : sender(message.sender()),
      number(NumberOf(message.body())),
      priority(message.priority()),
      size(message.body().size()),
      intact(IsIntact(message.body())),
      redelivered(message.redelivered()) {}

void Drain(Receiver& receiver, std::vector<Received>* received) {
  while (true) {
    const absl::StatusOr<Message> message = receiver.TryReceive();
    if (!message.ok()) {
      EXPECT_TRUE(absl::IsDeadlineExceeded(message.status())) << message.status();
      return;
    }
    received->emplace_back(*message);
  }
}

absl::Status CheckRoomIsFree(Sender& sender) {
  // A sender finds out what is free when it has none, and then there may be a claim in the middle.
  const size_t most = sender.max_message_bytes();
  absl::Status status;
  Soon([&] {
    const absl::StatusOr<ClaimedMessage> one = sender.Claim(most, {}, absl::InfinitePast());
    const absl::StatusOr<ClaimedMessage> two = sender.Claim(most, {}, absl::InfinitePast());
    status = one.ok() ? two.status() : one.status();
    return !absl::IsDeadlineExceeded(status);
  });
  return status;
}

World::World(Cluster* cluster) : cluster_(cluster) {
  options_.socket = cluster->Socket("alpha");
  options_.autostart = false;
  witness_ = Take(Process::Attach(options_));
  peer_ = Take(Process::Attach(options_));
  other_ = Take(Process::Attach(options_));
  sleeper_ = Take(Process::Attach(options_));
  witness_id_ = witness_->id().ToString();
  other_id_ = other_->id().ToString();
  sleeper_id_ = sleeper_->id().ToString();
  for (const char* name : kMailboxes) {
    Require(peer_->CreateMailbox(name, OptionsOf(name)).ok(), "a mailbox");
  }
  to_other_ = Take(peer_->Connect(other_->id()));
  to_sleeper_ = Take(peer_->Connect(sleeper_->id()));
  to_common_ = Take(peer_->ConnectMailbox("common"));
  to_work_ = Take(peer_->ConnectMailbox("work"));
  to_tight_ = Take(peer_->ConnectMailbox("tight"));
  to_turn_ = Take(peer_->ConnectMailbox("turn"));
  to_bed_ = Take(peer_->ConnectMailbox("bed"));
  to_news_ = Take(peer_->ConnectMailbox("news"));
  to_strict_ = Take(peer_->ConnectMailbox("strict"));
  to_rota_ = Take(peer_->ConnectMailbox("rota"));
  to_keyed_ = Take(peer_->ConnectMailbox("keyed"));
  from_common_ = Take(other_->OpenMailbox("common"));
  from_work_ = Take(other_->OpenMailbox("work"));
  from_tight_ = Take(other_->OpenMailbox("tight"));
  from_bed_ = Take(sleeper_->OpenMailbox("bed"));
  for (size_t i = 0; i < from_news_.size(); ++i) {
    from_news_[i] = Take((i == 2 ? sleeper_ : other_)->OpenMailbox("news"));
  }
  from_strict_ = Take(other_->OpenMailbox("strict", {.acknowledgement = Acknowledgement::kManual}));
  from_rota_ = Take(other_->OpenMailbox("rota"));
  from_keyed_ = Take(other_->OpenMailbox("keyed"));
}

World::~World() {
  for (const char* name : kMailboxes) EXPECT_TRUE(peer_->DestroyMailbox(name).ok());
}

void World::OthersGoOn() {
  for (const size_t size : {size_t{40}, size_t{20000}}) {
    const uint64_t number = ++last_number_;
    EXPECT_TRUE(to_other_->Send(MakeBody(number, size), {}, GoOnDeadline()).ok());
    ExpectArrives(other_->inbox(), number);
    EXPECT_TRUE(to_common_->Send(MakeBody(number, size), {}, GoOnDeadline()).ok());
    ExpectArrives(*from_common_, number);
  }
}

void World::NewcomerGoesOn() {
  absl::StatusOr<Process> newcomer = Process::Attach(options_);
  ASSERT_TRUE(newcomer.ok()) << newcomer.status();
  absl::StatusOr<Sender> direct = newcomer->Connect(other_->id());
  ASSERT_TRUE(direct.ok()) << direct.status();
  absl::StatusOr<Sender> mailbox = newcomer->ConnectMailbox("work");
  ASSERT_TRUE(mailbox.ok()) << mailbox.status();
  const uint64_t number = ++last_number_;
  EXPECT_TRUE(direct->Send(MakeBody(number, 40), {}, GoOnDeadline()).ok());
  ExpectArrives(other_->inbox(), number);
  EXPECT_TRUE(mailbox->Send(MakeBody(number, 40), {}, GoOnDeadline()).ok());
  ExpectArrives(*from_work_, number);
}

void World::ExpectNothingIsLeft() {
  ExpectEmpty(witness_->inbox(), "the witness");
  ExpectEmpty(peer_->inbox(), "the peer");
  ExpectEmpty(other_->inbox(), "the other");
  ExpectEmpty(sleeper_->inbox(), "the sleeper");
  ExpectEmpty(*from_common_, "common");
  ExpectEmpty(*from_work_, "work");
  ExpectEmpty(*from_tight_, "tight");
  ExpectEmpty(*from_bed_, "bed");
  for (const auto& reader : from_news_) ExpectEmpty(*reader, "news");
  ExpectEmpty(*from_strict_, "strict");
  ExpectEmpty(*from_rota_, "rota");
  ExpectEmpty(*from_keyed_, "keyed");
}

Account World::TakeAccount() {
  return Account::Take({cluster_->Agent("alpha").pid(), cluster_->Proper("alpha"), getpid()});
}

}  // namespace mailrail
