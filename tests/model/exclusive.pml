// MailboxQueue::Take and Claim, and Broker::ProcessGone and CloseRemoteReceiver, of an exclusive mailbox: the
// right to receive moves from one that is gone, or is received for by the carrier, and may be in the midst of
// a receive, to the next.
//
// A receiver looks whether it has the right, claims, looks once more, and takes; the agent takes the right
// away, then the claims, and gives the right to the other. Each may be as slow as it likes.
//
// Shown: nobody takes a message while another has the right, none is lost or stays claimed, and none is
// received twice.
#define MESSAGES 2
#define FREE 0
#define WAITS 1
#define LEASED 2
#define RETURNED 3

#define NOBODY 0
#define ONE 1
#define OTHER 2

// One slot. FREE is DONE.
byte sequence, owner, phase;
byte holder = ONE;
byte received[MESSAGES + 1];
byte sent;

proctype Sender() {
  do
  :: sent == MESSAGES -> break
  :: atomic { phase == FREE && sent < MESSAGES -> sent++; sequence = sent; owner = 0; phase = WAITS }
  od
}

#ifdef MUTANT_NO_OWNER
#define MINE(m, me) (sequence == m && phase == LEASED)
#else
#define MINE(m, me) (sequence == m && owner == me && phase == LEASED)
#endif

#define CLAIMABLE (phase == WAITS || phase == RETURNED)

proctype Receiver(byte me) {
  byte m;
  do
  :: holder == me ->
     atomic { CLAIMABLE -> m = sequence }
     atomic {
       if
       :: CLAIMABLE && sequence == m -> owner = me; phase = LEASED
       :: else -> goto again
       fi
     }
#ifndef MUTANT_NO_LOOK_AFTER_CLAIM
     if
     :: holder != me ->
        // Return
        atomic {
          if
          :: MINE(m, me) -> owner = 0; phase = RETURNED
          :: else
          fi
        }
        goto again
     :: else
     fi;
#endif
     // Take
     atomic {
       if
       :: MINE(m, me) ->
          phase = FREE;
          assert(owner == me);
          assert(holder == me || holder == NOBODY);
          assert(received[m] == 0);
          received[m]++
       :: else
       fi
     }
again:
     m = 0
  od
}

#define RELEASE \
  atomic { \
    if \
    :: owner == ONE && phase == LEASED -> owner = 0; phase = RETURNED \
    :: else \
    fi \
  }

proctype Agent() {
#ifdef MUTANT_RELEASED_BEFORE_WITHDRAWN
  RELEASE;
  holder = NOBODY;
#else
  holder = NOBODY;
#ifndef MUTANT_GRANTED_BEFORE_RELEASED
  RELEASE;
#endif
#endif
  holder = OTHER
#ifdef MUTANT_GRANTED_BEFORE_RELEASED
  ;
  RELEASE
#endif
}

proctype Watch() {
  timeout ->
  assert(sent == MESSAGES && phase == FREE);
  assert(received[1] == 1 && received[2] == 1)
}

init {
  atomic {
    run Sender();
    run Receiver(ONE);
    run Receiver(OTHER);
    run Agent();
    run Watch()
  }
}
