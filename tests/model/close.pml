// OutgoingLane::Published and Destination::Close: a mailbox is destroyed, or the receiver dies, while
// somebody sends, fenced or streaming. The agent may die after every step; another one goes on.
//
// Shown: what the sender was told OK for is received or counted as lost; what it was told an error
// for nobody receives.
#include "process.pml"

#define MESSAGES 2
#define WAITS 0
#define TAKEN 1
#define TAKEN_BACK 2

byte stored, visible;  // messages published, as the sender and as others see it
byte state[MESSAGES + 1];
bool closed, over, sender_ended, receiver_ended;
bool ok[MESSAGES + 1], error[MESSAGES + 1], counted[MESSAGES + 1];
bool received[MESSAGES + 1];

proctype StoreBuffer() {
end:
  do
  :: atomic { visible < stored -> visible++ }
  od
}

proctype Sender(bool streams) {
  byte message = 0;
  bool saw_closed;
  do
  :: message == MESSAGES -> break
  :: else ->
     message++;
#ifdef MUTANT_CLOSED_READ_BEFORE_PUBLISH
     saw_closed = closed;
#endif
     atomic { stored = message; if :: !streams -> visible = message :: else fi }
#ifndef MUTANT_CLOSED_READ_BEFORE_PUBLISH
     saw_closed = closed;
#endif
     if
     :: !saw_closed -> ok[message] = true
     :: else ->
#ifdef MUTANT_NOT_TAKEN_BACK
        error[message] = true;
#elif defined(MUTANT_TAKEN_BACK_WITHOUT_COMPARE)
        atomic { visible = stored; state[message] = TAKEN_BACK; error[message] = true }
#else
        // Retract: an exchange, so the store buffer is empty.
        atomic {
          visible = stored;
          if
          :: state[message] == WAITS -> state[message] = TAKEN_BACK; error[message] = true
          :: else -> ok[message] = true
          fi
        }
#endif
        break
     fi
  od;
  sender_ended = true
}

proctype Receiver() {
  byte next = 1;
  do
  :: over || next > MESSAGES -> break
  :: atomic { visible >= next && state[next] == WAITS -> state[next] = TAKEN; received[next] = true } next++
  :: atomic { visible >= next && state[next] == TAKEN_BACK -> next++ }
  od;
  receiver_ended = true
}

inline Count() {
  d_step {
    i = 1;
    do
    :: i <= MESSAGES -> counted[i] = (visible >= i && state[i] == WAITS); i++
    :: else -> break
    od;
    i = 0
  }
}

proctype Agent() {
  byte i;
again:
#ifdef MUTANT_COUNTED_BEFORE_CLOSED
  Count();
#endif
  closed = true;
  if :: goto again :: true fi;
#ifndef MUTANT_NO_BARRIER
  atomic { visible = stored }
  if :: goto again :: true fi;
#endif
#ifndef MUTANT_COUNTED_BEFORE_CLOSED
  Count();
#endif
  // What is received later was counted, too: the count says "up to".
  over = true
}

proctype Watch() {
  byte i = 1;
  (over && sender_ended && receiver_ended && visible == stored) ->
  do
  :: i <= MESSAGES ->
     assert(!ok[i] || received[i] || counted[i]);
     assert(!error[i] || !received[i]);
     i++
  :: else -> break
  od
}

init {
  atomic {
    if :: run Sender(false) :: run Sender(true) fi;
    run StoreBuffer();
    run Receiver();
    run Agent();
    run Watch()
  }
}
