#include "node/peer/handshake.h"

#include <string>

#include "gtest/gtest.h"

namespace mailrail {
namespace {

PeerTransportOptions Alpha() {
  PeerTransportOptions options;
  options.cluster_id = "blue";
  options.node = "alpha";
  options.node_incarnation = 7;
  return options;
}

PeerTransportOptions Beta() {
  PeerTransportOptions options = Alpha();
  options.node = "beta";
  return options;
}

proto::Envelope HelloOf(const PeerTransportOptions& node) {
  proto::Envelope message;
  *message.mutable_hello() = MakeHello(node, proto::URGENT);
  return message;
}

TEST(Handshake, AcceptsAPeerOfTheSameClusterAndVersion) {
  EXPECT_TRUE(CheckHello(Alpha(), "alpha", HelloOf(Beta())).ok());
  EXPECT_TRUE(CheckHello(Alpha(), "", HelloOf(Beta())).ok());
  EXPECT_TRUE(CheckAnswer(Alpha(), "beta", proto::URGENT, HelloOf(Beta())).ok());
}

TEST(Handshake, RefusesAnotherClusterInWords) {
  PeerTransportOptions beta = Beta();
  beta.cluster_id = "green";
  const absl::Status why = CheckHello(Alpha(), "alpha", HelloOf(beta));
  EXPECT_EQ(why, absl::FailedPreconditionError(
                     "node beta belongs to cluster 'green', node alpha to cluster 'blue'"));
  EXPECT_EQ(CheckAnswer(Alpha(), "beta", proto::URGENT, HelloOf(beta)), why);
}

TEST(Handshake, RefusesAnotherVersionInWords) {
  PeerTransportOptions beta = Beta();
  beta.protocol_version = 2;
  beta.cluster_id = "green";
  EXPECT_EQ(CheckHello(Alpha(), "alpha", HelloOf(beta)),
            absl::UnimplementedError("node beta speaks version 2 of the protocol between agents, "
                                     "node alpha version 1"));
}

TEST(Handshake, RefusesADialerThatMeansAnotherNode) {
  EXPECT_EQ(CheckHello(Alpha(), "gamma", HelloOf(Beta())),
            absl::FailedPreconditionError("the address of node gamma leads to node alpha"));
  EXPECT_EQ(CheckAnswer(Alpha(), "gamma", proto::URGENT, HelloOf(Beta())),
            absl::FailedPreconditionError("the address of node gamma leads to node beta"));
}

TEST(Handshake, RefusesItself) {
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckHello(Alpha(), "alpha", HelloOf(Alpha()))));
}

TEST(Handshake, RefusesWhatIsNotWellFormed) {
  EXPECT_TRUE(absl::IsInvalidArgument(CheckHello(Alpha(), "", proto::Envelope())));
  EXPECT_TRUE(
      absl::IsInvalidArgument(CheckAnswer(Alpha(), "beta", proto::URGENT, proto::Envelope())));
  for (const char* name : {"", "a b", "\n"}) {
    PeerTransportOptions beta = Beta();
    beta.node = name;
    EXPECT_TRUE(absl::IsInvalidArgument(CheckHello(Alpha(), "", HelloOf(beta)))) << name;
  }
  proto::Envelope message = HelloOf(Beta());
  message.mutable_hello()->set_session_class(static_cast<proto::SessionClass>(5));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckHello(Alpha(), "", message)));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckAnswer(Alpha(), "beta", proto::BULK, HelloOf(Beta()))));
}

TEST(Handshake, ARefusalIsAnErrorWhateverItSays) {
  proto::Envelope message;
  *message.mutable_refusal() = MakeRefusal(absl::FailedPreconditionError("another cluster"));
  EXPECT_EQ(CheckAnswer(Alpha(), "beta", proto::BULK, message),
            absl::FailedPreconditionError("another cluster"));
  for (const int code : {-1, 0, 17, 1 << 30}) {
    message.mutable_refusal()->mutable_status()->set_code(code);
    EXPECT_TRUE(absl::IsUnknown(CheckAnswer(Alpha(), "beta", proto::BULK, message))) << code;
  }
}

TEST(Handshake, WhatAPeerSaysIsFitForALog) {
  PeerTransportOptions beta = Beta();
  beta.cluster_id = "x\n" + std::string(100'000, 'y');
  const absl::Status why = CheckHello(Alpha(), "alpha", HelloOf(beta));
  EXPECT_EQ(why.message().find('\n'), absl::string_view::npos);
  EXPECT_LT(why.message().size(), 2000u);
}

}  // namespace
}  // namespace mailrail
