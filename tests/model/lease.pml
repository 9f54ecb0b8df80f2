// node/carrier/remote_receivers.cc: leases of a mailbox's messages to a receiver on another node, which
// holds several, and which expire, and outcomes that come late or twice.
//
// The home leases messages to the receiver, under a number of its own for each delivery. The receiver
// takes it back unseen, or holds it; then it says so some time, and may get another one; and it settles
// what it holds in any order: it acknowledges it, or gives it back, and says so, perhaps twice, perhaps
// late. A lease of which nothing was heard expires at any time: the message goes back, marked as handed
// out, and may be delivered again, or a receiver at home takes it. The remote receiver may die at any
// time.
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

#define HELD 1
#define RECEIVED 2
#define NOT_TAKEN 3
#define GIVEN_BACK 4

chan to_receiver = [2] of { byte, byte, bool };  // delivery, message, marked
chan to_home = [3] of { byte, byte, byte };      // delivery, message, HELD or the outcome

byte state[MESSAGES + 1];
bool marked[MESSAGES + 1];
byte received[MESSAGES + 1], unmarked[MESSAGES + 1];
byte out[DELIVERIES + 1];  // the message, while the delivery is out
bool held[DELIVERIES + 1];
byte has[DELIVERIES + 1];  // the message that the receiver holds
byte life;

#define IN_DOUBT(d) (out[d] != 0 && !held[d])
#define ANY_IN_DOUBT (IN_DOUBT(1) || IN_DOUBT(2) || IN_DOUBT(3) || IN_DOUBT(4))
#define ANY_OUT (out[1] != 0 || out[2] != 0 || out[3] != 0 || out[4] != 0)

inline Receive(m, is_marked) {
  received[m]++;
  unmarked[m] = unmarked[m] + (is_marked -> 0 : 1);
  assert(unmarked[m] <= 1)
}

inline End(d, is_done, attempted) {
  state[out[d]] = (is_done -> DONE : WAITS);
  marked[out[d]] = marked[out[d]] || attempted;
  out[d] = 0;
  held[d] = false
}

inline ChooseOut(d) {
  if
  :: out[1] != 0 -> d = 1
  :: out[2] != 0 -> d = 2
  :: out[3] != 0 -> d = 3
  :: out[4] != 0 -> d = 4
  fi
}

proctype Home() {
  byte deliveries = 0, expired = 0, d, m, said, at;
  do
  // Deliver
  :: atomic {
       !ANY_IN_DOUBT && deliveries < DELIVERIES && life == RUNS && nfull(to_receiver) ->
       if
       :: state[1] == WAITS -> m = 1
       :: state[1] != WAITS && state[2] == WAITS -> m = 2
       :: else -> goto more
       fi;
       state[m] = LEASED;
       deliveries++;
       out[deliveries] = m;
       to_receiver ! deliveries, m, marked[m];
       m = 0
     }
  // Nothing was heard for too long.
  :: atomic {
       ANY_OUT && expired < EXPIRIES ->
       expired++;
       ChooseOut(at);
#ifdef MUTANT_EXPIRED_UNMARKED
       End(at, false, false);
#else
       End(at, false, true);
#endif
       at = 0
     }
  // TakeWant, TakeOutcome
  :: atomic {
       to_home ? d, m, said ->
       if
       :: said == HELD -> held[d] = (out[d] != 0)
       :: else ->
#ifdef MUTANT_ANY_OUTCOME
          if
          :: ANY_OUT -> ChooseOut(at)
          :: else
          fi;
#elif defined(MUTANT_OUTCOME_BY_MESSAGE)
          at = (out[1] == m -> 1 : (out[2] == m -> 2 : (out[3] == m -> 3 : (out[4] == m -> 4 : 0))));
#else
          at = (out[d] != 0 -> d : 0);
#endif
          if
          :: at != 0 ->
             assert(said != RECEIVED || received[out[at]] > 0);
#ifdef MUTANT_GIVEN_BACK_UNMARKED
             End(at, said == RECEIVED, false)
#else
             End(at, said == RECEIVED, said == GIVEN_BACK)
#endif
          :: else
          fi
       fi;
       d = 0; m = 0; said = 0; at = 0
     }
  // The receiver is gone: nobody knows what it has seen.
  :: atomic {
       life == DEAD && ANY_OUT && empty(to_home) ->
       ChooseOut(at);
#ifdef MUTANT_GONE_UNMARKED
       End(at, false, false);
#else
       End(at, false, true);
#endif
       at = 0
     }
  // A receiver at home takes what is left when the other is gone, or wants no more.
  :: atomic {
       (life == DEAD || deliveries == DELIVERIES) && empty(to_home) &&
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

// Perhaps twice.
inline Say() {
  atomic { nfull(to_home) -> to_home ! d, m, outcome };
  if
  :: atomic { nfull(to_home) -> to_home ! d, m, outcome }
  :: true
  fi;
  atomic { d = 0; m = 0; outcome = 0 }
}

proctype RemoteReceiver() {
  byte d, m, outcome;
  bool is_marked;
end:
  do
  :: atomic {
       to_receiver ? d, m, is_marked ->
       if
       :: Receive(m, is_marked); has[d] = m; outcome = HELD
       :: outcome = NOT_TAKEN
       fi;
       is_marked = false
     }
     Say()
  // What it holds it settles.
  :: atomic {
       has[1] != 0 || has[2] != 0 || has[3] != 0 || has[4] != 0 ->
       if
       :: has[1] != 0 -> d = 1
       :: has[2] != 0 -> d = 2
       :: has[3] != 0 -> d = 3
       :: has[4] != 0 -> d = 4
       fi;
       m = has[d];
       has[d] = 0;
       if
       :: outcome = RECEIVED
       :: outcome = GIVEN_BACK
       fi
     }
     Say()
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
