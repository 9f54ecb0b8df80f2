// ReceiveQueue::TakeBest and Broker: a sender's lane joins a mailbox while a receiver takes messages
// of another one's. The agent may die between its steps; the next one sends all notices again.
//
// Shown: if the new sender's send had returned before the old one's was called, and both are of one
// priority, the new one's message goes first; and so does a better one of the same lane.
#include "process.pml"

bool notice, granted;         // the lane's descriptors are in the receiver's socket; the sender may send
byte members_version;
bool published_new, published_old;
bool returned_new;
bool taken_new, taken_old;

proctype Agent() {
again:
#ifdef MUTANT_GRANT_BEFORE_VERSION
  notice = true;
  granted = true;
  members_version = 1;
#elif defined(MUTANT_VERSION_AFTER_GRANT_AND_NOTICE)
  granted = true;
  notice = true;
  members_version = 1;
#else
  notice = true;
  if :: !granted -> goto again :: true fi;
  members_version = 1;
  if :: !granted -> goto again :: true fi;
  granted = true
#endif
}

proctype NewSender() {
  granted;
  published_new = true;
  returned_new = true
}

// It sends after it has heard that the other's send has returned.
proctype OldSender() {
  returned_new;
  published_old = true
}

#define MAPPED (version == 1)

proctype Receiver() {
  byte version = 0, read_version = 0;
  bool found_new, found_old, behind;
again:
  atomic { found_new = false; found_old = false; behind = false }
#ifdef MUTANT_VERSION_READ_BEFORE_CANDIDATE
  behind = members_version != version;
#endif
  // Find: the lanes that are mapped, in any order.
  if
  :: MAPPED -> found_new = published_new && !taken_new
  :: else
  fi;
  found_old = published_old && !taken_old;
#ifndef MUTANT_VERSION_READ_BEFORE_CANDIDATE
#ifndef MUTANT_NO_VERSION
  behind = members_version != version;
#endif
#endif
  if
  :: behind ->
     // TakeOverChanges, of what was read from the socket.
     if :: notice -> read_version = 1 :: else fi;
     version = read_version;
#ifdef MUTANT_NO_LOOK_AFTER_JOIN
     goto claim;
#else
     goto again
#endif
  :: else
  fi;
  if
  :: !found_new && !found_old ->
     if
     :: (published_new && !taken_new && MAPPED)
     :: (published_old && !taken_old)
     :: (members_version != version)
     :: (taken_new && taken_old) -> goto end_done
     fi;
     goto again
  :: else
  fi;
  // The second look.
#ifndef MUTANT_NO_SECOND_LOOK
  if
  :: MAPPED -> found_new = published_new && !taken_new
  :: else
  fi;
#endif
#ifdef MUTANT_NO_LOOK_AFTER_JOIN
claim:
#endif
  if
  :: found_new -> taken_new = true
  :: !found_new && found_old ->
     assert(!returned_new || taken_new);
     taken_old = true
  :: else
  fi;
  goto again;
end_done:
  skip
}

proctype Watch() { timeout -> assert(taken_new && taken_old) }

init {
  atomic {
    run Agent();
    run NewSender();
    run OldSender();
    run Receiver();
    run Watch()
  }
}
