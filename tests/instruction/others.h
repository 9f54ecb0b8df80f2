// What those who live on do and find.
#ifndef MAILRAIL_TESTS_INSTRUCTION_OTHERS_H_
#define MAILRAIL_TESTS_INSTRUCTION_OTHERS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/mailbox/receive_queue.h"
#include "tests/instruction/channel.h"
#include "tests/instruction/region.h"

namespace mailrail {

// Sends messages, numbered on from the last. Expects room.
void SendAs(Channel& channel, size_t sender, uint64_t number, size_t size, int priority = kBulk);

// Takes all that is there now, and adds it. Expects nothing that is no message.
void TakeAll(ReceiveQueue& queue, const Channel& channel, std::vector<Received>* received);
inline std::vector<Received> TakeAll(ReceiveQueue& queue, const Channel& channel) {
  std::vector<Received> received;
  TakeAll(queue, channel, &received);
  return received;
}

// The messages of `sender` that were received are whole, and `first`, `first` + 1 ... in this order
// within each priority; returns how many there are.
uint64_t ExpectInOrder(const std::vector<Received>& received, size_t sender, uint64_t first);

// Takes a lane up as an agent that is started again does with its own, and sends on round it: what
// it sends comes, and in the end all its room is free. `published`: how many messages each priority
// has had. Call once.
void ExpectTakenUp(Channel& channel, size_t sender, uint64_t published_bulk,
                   uint64_t published_urgent);

// Writes to all room for bulk bodies that this sending end has for free.
void WriteToFreeRoom(OutgoingLane& lane);

// The lane of one who lives is empty, and has all its room.
void ExpectRoomIsFree(Channel& channel, size_t sender);

// The lane of one who is gone ends: no message is left in it, and it is let go of.
void ExpectEnded(Channel& channel, size_t sender);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_INSTRUCTION_OTHERS_H_
