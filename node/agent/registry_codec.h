// Between the registry's entries and what the keeper holds of them (proto/state.proto).
#ifndef MAILRAIL_NODE_AGENT_REGISTRY_CODEC_H_
#define MAILRAIL_NODE_AGENT_REGISTRY_CODEC_H_

#include <string>

#include "node/agent/registry.h"
#include "proto/state.pb.h"

namespace mailrail {

state::Process Encode(const LocalProcess& process);
state::Mailbox Encode(const LocalMailbox& mailbox);
// `place`: as LocalMailbox::order; 0: it has the mailbox open no more.
state::Receiver EncodeReceiver(const LocalMailbox& mailbox, uint32_t number, uint64_t place);
state::Receiver EncodeReceiver(uint64_t mailbox, const std::string& node, uint64_t key,
                               const RemoteReceiverEntry& entry);
state::MailboxLane Encode(const MailboxLane& lane);
state::Link Encode(const Link& link);
state::Proxy Encode(const Proxy& proxy);
state::Watch Encode(const Watch& watch);

void Decode(const state::Process& value, const std::string& node, LocalProcess* process);
void Decode(const state::Mailbox& value, LocalMailbox* mailbox);
// Adds it to its mailbox.
void Decode(const state::Receiver& value, LocalMailbox* mailbox);
void Decode(const state::MailboxLane& value, MailboxLane* lane);
void Decode(const state::Link& value, Link* link);
void Decode(const state::Proxy& value, Proxy* proxy);
void Decode(const state::Watch& value, Watch* watch);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_REGISTRY_CODEC_H_
