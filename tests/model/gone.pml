// MailboxQueue::Claim and Broker::ProcessGone: a receiver that is declared gone while it still runs, since
// its connection has ended. What it claims then is nobody's.
//
// The receiver claims, copies and takes; the agent says that it is gone, and then takes its claims away;
// another receiver takes what was returned, and what the sender sends next into the same slot. The one
// that is gone is not killed between its claim and its second look at whether it is gone.
//
// Shown: no message stays claimed by who is gone, none is lost, none is received twice but marked, and
// whoever is late does not touch another's claim or message.
#include "process.pml"

#define MESSAGES 2
#define FREE 0
#define WAITS 1
#define LEASED 2
#define TAKEN 3
#define RETURNED 4

#define GONE_ONE 1
#define OTHER 2

// One slot. FREE is DONE.
byte sequence, owner, phase;
bool gone;
byte received[MESSAGES + 1];
bool marked[MESSAGES + 1];
byte sent;

inline Received(m) {
  assert(received[m] == 0 || marked[m]);
  received[m]++
}

proctype Sender() {
  do
  :: sent == MESSAGES -> break
  :: atomic { phase == FREE && sent < MESSAGES -> sent++; sequence = sent; owner = 0; phase = WAITS }
  od
}

#ifdef MUTANT_NO_OWNER
#define MINE(m, me, f) (sequence == m && phase == f)
#else
#define MINE(m, me, f) (sequence == m && owner == me && phase == f)
#endif

#define CLAIMABLE (phase == WAITS || phase == RETURNED)

proctype Receiver(byte me) {
  byte m;
  bool view;
  do
  :: me == GONE_ONE && gone -> break
  :: me == OTHER && received[1] + received[2] >= MESSAGES && phase == FREE && sent == MESSAGES -> break
  :: atomic {
       CLAIMABLE && !(me == GONE_ONE && gone) ->
       m = sequence
     }
     atomic {
       if
       :: CLAIMABLE && sequence == m -> owner = me; phase = LEASED
       :: else -> goto again
       fi
     }
#ifndef MUTANT_NO_LOOK_AFTER_CLAIM
     if
     :: me == GONE_ONE && gone ->
        // Return
        atomic {
          if
          :: MINE(m, me, LEASED) -> owner = 0; phase = RETURNED
          :: else
          fi
        }
        goto again
     :: else
     fi;
#endif
     if
     // It is stopped, or hangs in its own code, until it is gone; then it ends.
     :: me == GONE_ONE -> gone; break
     :: true
     fi;
     // Take
     atomic {
       if
       :: MINE(m, me, LEASED) ->
          if
          :: phase = FREE
          :: view = true; phase = TAKEN
          fi;
          // Not a claim that another has by now.
          assert(owner == me);
          Received(m)
       :: else -> goto again
       fi
     }
     if
     :: view ->
        view = false;
        // Done
        atomic {
          if
#ifdef MUTANT_NO_SEQUENCE
          :: phase == TAKEN -> assert(sequence == m); phase = FREE
#else
          :: sequence == m && phase == TAKEN -> phase = FREE
#endif
          :: else
          fi
        }
     :: else
     fi;
again:
     m = 0
  od
}

// Destination::Close, then ReleaseClaimsOf.
proctype Agent() {
#ifdef MUTANT_RELEASED_BEFORE_GONE
  atomic { if :: owner == GONE_ONE && phase == LEASED -> marked[sequence] = true; owner = 0; phase = RETURNED :: else fi }
  gone = true
#else
  gone = true;
  atomic {
    if
    :: owner == GONE_ONE && phase == LEASED ->
       marked[sequence] = true;
       owner = 0;
       phase = RETURNED
    :: owner == GONE_ONE && phase == TAKEN -> phase = FREE
    :: else
    fi
  }
#endif
}

proctype Watch() {
  timeout ->
  assert(sent == MESSAGES && phase == FREE);
  assert(received[1] > 0 && received[2] > 0)
}

init {
  atomic {
    run Sender();
    run Receiver(GONE_ONE);
    run Receiver(OTHER);
    run Agent();
    run Watch()
  }
}
