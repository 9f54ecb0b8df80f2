// node/carrier/remote_receivers.cc: leases of a mailbox's messages to a receiver on another node, which
// expire, and outcomes that come late or twice.
//
// The home leases one message at a time to the receiver, under a number of its own for each delivery.
// The receiver takes it or gives it back, and says so, perhaps twice, perhaps late. A lease of which
// nothing was heard expires at any time: the message goes back, marked as handed out, and may be
// delivered again, or a receiver at home takes it. The remote receiver may die at any time.
//
// Shown: no message is done that nobody has received; of one that is received more than once all but
// one are marked; and none is left.
#include "process.pml"

#define MESSAGES 2
#define DELIVERIES 4
#define EXPIRIES 2

#define WAITS 0
#define LEASED 1
#define DONE 2

#define RECEIVED 1
#define GIVEN_BACK 2

chan to_receiver = [2] of { byte, byte, bool };  // delivery, message, marked
chan to_home = [4] of { byte, byte, byte };      // delivery, message, outcome

byte state[MESSAGES + 1];
bool marked[MESSAGES + 1];
byte received[MESSAGES + 1], unmarked[MESSAGES + 1];
byte life;

inline Receive(m, is_marked) {
  received[m]++;
  unmarked[m] = unmarked[m] + (is_marked -> 0 : 1);
  assert(unmarked[m] <= 1)
}

inline PutBack(m, attempted) {
  state[m] = WAITS;
  marked[m] = marked[m] || attempted
}

proctype Home() {
  byte deliveries = 0, delivery, leased = 0, expired = 0, d, m, outcome;
  do
  // Deliver
  :: atomic {
       leased == 0 && deliveries < DELIVERIES && life == RUNS && nfull(to_receiver) ->
       if
       :: state[1] == WAITS -> leased = 1
       :: state[1] != WAITS && state[2] == WAITS -> leased = 2
       :: else -> goto more
       fi;
       state[leased] = LEASED;
       deliveries++;
       delivery = deliveries;
       to_receiver ! delivery, leased, marked[leased]
     }
  // Nothing was heard for too long.
  :: atomic {
       leased != 0 && expired < EXPIRIES ->
       expired++;
#ifdef MUTANT_EXPIRED_UNMARKED
       PutBack(leased, false);
#else
       PutBack(leased, true);
#endif
       leased = 0
     }
  // TakeOutcome
  :: atomic {
       to_home ? d, m, outcome ->
       if
#ifdef MUTANT_ANY_OUTCOME
       :: leased != 0 ->
#elif defined(MUTANT_OUTCOME_BY_MESSAGE)
       :: leased != 0 && m == leased ->
#else
       :: leased != 0 && d == delivery ->
#endif
          if
          :: outcome == RECEIVED -> assert(received[leased] > 0); state[leased] = DONE
          :: else -> PutBack(leased, false)
          fi;
          leased = 0
       :: else
       fi;
       d = 0; m = 0; outcome = 0
     }
  // The receiver is gone: nobody knows what it has seen.
  :: atomic {
       life == DEAD && leased != 0 && empty(to_home) ->
#ifdef MUTANT_GONE_UNMARKED
       PutBack(leased, false);
#else
       PutBack(leased, true);
#endif
       leased = 0
     }
  // A receiver at home takes what is left when the other is gone, or wants no more.
  :: atomic {
       leased == 0 && (life == DEAD || deliveries == DELIVERIES) && empty(to_home) &&
           (state[1] == WAITS || state[2] == WAITS) ->
       if
       :: state[1] == WAITS -> m = 1
       :: else -> m = 2
       fi;
       Receive(m, marked[m]);
       state[m] = DONE;
       m = 0
     }
  :: state[1] == DONE && state[2] == DONE -> break
more:
  od
}

proctype RemoteReceiver() {
  byte d, m;
  bool is_marked;
end:
  do
  :: atomic { to_receiver ? d, m, is_marked -> skip }
     if
     :: atomic { true -> Receive(m, is_marked) }
        atomic { nfull(to_home) -> to_home ! d, m, RECEIVED }
        if :: atomic { nfull(to_home) -> to_home ! d, m, RECEIVED } :: true fi
     :: atomic { nfull(to_home) -> to_home ! d, m, GIVEN_BACK }
        if :: atomic { nfull(to_home) -> to_home ! d, m, GIVEN_BACK } :: true fi
     fi;
     atomic { d = 0; m = 0; is_marked = false }
  od unless { life == DEAD }
}

proctype Death() {
end:
  do
  :: atomic { life == RUNS -> life = DEAD }; break
  od
}

proctype Watch() { timeout -> assert(state[1] == DONE && state[2] == DONE) }

init {
  atomic {
    run Home();
    run RemoteReceiver();
    if :: run Death() :: true fi;
    run Watch()
  }
}
