// core/shm/bell.h: publishing, ringing and parking, fenced and streaming.
//
// SENDERS senders send MESSAGES each (a second one MESSAGES_OF_SECOND); the first may die or stop after every step. RECEIVERS receivers
// look, park and sleep; the first may die or stop after every step, too (with RECEIVER_FAILS). What
// a sender publishes by a plain store waits in its store buffer until it executes an exchange or a
// fence, a receiver executes the barrier for all, or the buffer is written back by itself.
//
// Shown: nobody sleeps for ever beside a message, without the look after 50 ms. Whoever is stopped
// between publishing and ringing is left out: that is what the look is for.
#include "process.pml"

#ifndef SENDERS
#define SENDERS 1
#endif
#ifndef RECEIVERS
#define RECEIVERS 1
#endif
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef MESSAGES_OF_SECOND
#define MESSAGES_OF_SECOND MESSAGES
#endif
#define MESSAGES_OF(s) (s == 0 -> MESSAGES : MESSAGES_OF_SECOND)
// kStreamAfter
#define STREAM_AFTER 1

byte stored[SENDERS];   // published, as the sender sees it
byte visible[SENDERS];  // published, as others see it
byte taken[SENDERS];
bool returned[SENDERS];  // all sends have returned
byte parks, gate, streams, awake;
bool sleeps[RECEIVERS];
byte sender_life[SENDERS], receiver_life[RECEIVERS];
bool rung_by_agent;

inline Drain(s) { visible[s] = stored[s] }
inline DrainAll() {
  visible[0] = stored[0]
#if SENDERS == 2
  ; visible[1] = stored[1]
#endif
}
inline WakeAll() {
  sleeps[0] = false
#if RECEIVERS == 2
  ; sleeps[1] = false
#endif
}

#ifdef SENDER_FAILS
#define SENDER_MAY_FAIL if :: s == 0 -> sender_life[0] = DEAD; goto end_failed :: s == 0 -> sender_life[0] = STOPPED; goto end_failed :: true fi
#else
#define SENDER_MAY_FAIL skip
#endif
#ifdef RECEIVER_FAILS
#define RECEIVER_MAY_FAIL if :: r == 0 -> receiver_life[0] = DEAD; goto end_failed :: r == 0 -> receiver_life[0] = STOPPED; goto end_failed :: true fi
#else
#define RECEIVER_MAY_FAIL skip
#endif

proctype StoreBuffer(byte s) {
end:
  do
  :: atomic { visible[s] < stored[s] -> visible[s]++ }
  od
}

proctype Sender(byte s) {
  byte last_rung = 0, quiet = 0, seen, old;
  bool plain = false;
  do
  :: stored[s] == MESSAGES_OF(s) -> d_step { quiet = 0; last_rung = 0; plain = false }; break
  :: else ->
#ifdef MUTANT_CHECK_BEFORE_PUBLISH
     seen = parks;
     SENDER_MAY_FAIL;
#endif
     // Publish.
     atomic {
       stored[s]++;
       if
       :: !plain ->
#ifndef MUTANT_FENCED_BY_STORE
          Drain(s)
#else
          skip
#endif
       :: else
       fi
     }
     SENDER_MAY_FAIL;
     // Ringer::Ring
#ifndef MUTANT_CHECK_BEFORE_PUBLISH
     seen = parks;
#endif
     if
     :: seen == last_rung ->
        quiet++;
        if
        :: quiet == STREAM_AFTER && !plain ->
           SENDER_MAY_FAIL;
#ifdef MUTANT_STREAMS_IS_A_FLAG
           atomic { Drain(s); streams = 1 }
           SENDER_MAY_FAIL;
#elif !defined(MUTANT_STREAMS_UNSAID)
           old = streams;
           SENDER_MAY_FAIL;
#ifdef MUTANT_STREAMS_LOWERED
           atomic { Drain(s); streams = last_rung + 1 }
#else
           do
           :: old < last_rung + 1 ->
              atomic {
                Drain(s);
                if
                :: streams == old -> streams = last_rung + 1; old = streams
                :: else -> old = streams
                fi
              }
              SENDER_MAY_FAIL
           :: else -> break
           od;
#endif
#endif
           seen = parks;
           if
           :: seen == last_rung -> plain = true
           :: else -> quiet = 0
           fi
        :: else -> if :: quiet > STREAM_AFTER -> quiet = STREAM_AFTER + 1 :: else fi
        fi
     :: else ->
        // RingFor
        quiet = 0;
        if
        :: plain ->
           plain = false;
#ifndef MUTANT_NO_LOOK_AFTER_STREAM
           Drain(s);
           SENDER_MAY_FAIL;
           seen = parks
#endif
        :: else
        fi;
        SENDER_MAY_FAIL;
        if
        :: SOLE && awake == seen -> skip
        :: else ->
           atomic { Drain(s); gate++ }
           SENDER_MAY_FAIL;
           WakeAll()
        fi;
#ifdef MUTANT_RUNG_READ_AFTER_RING
        last_rung = parks
#else
        last_rung = seen
#endif
     fi;
     d_step { seen = 0; old = 0 };
     SENDER_MAY_FAIL
  od;
  returned[s] = true;
end_failed:
  skip
}

proctype Receiver(byte r) {
  byte seen_gate, parked, seen_streams;
  bool found;
again:
  atomic {
    found = false;
    if
    :: visible[0] > taken[0] -> taken[0]++; found = true
#if SENDERS == 2
    :: visible[1] > taken[1] -> taken[1]++; found = true
#endif
    :: else
    fi
  }
  if :: found -> goto again :: else fi;
  // Parker::Park
  seen_gate = gate;
  RECEIVER_MAY_FAIL;
#ifdef MUTANT_STREAMS_READ_BEFORE_PARKS
  seen_streams = streams;
#endif
  atomic { parks++; parked = parks }
  RECEIVER_MAY_FAIL;
#ifdef MUTANT_STREAMS_IS_A_FLAG
  atomic { seen_streams = streams; streams = 0 }
#elif !defined(MUTANT_STREAMS_READ_BEFORE_PARKS)
  seen_streams = streams;
#endif
  RECEIVER_MAY_FAIL;
  if
  :: seen_streams != 0 ->
#ifdef MUTANT_CLEARED_BEFORE_BARRIER
     if :: streams == seen_streams && seen_streams <= parked -> streams = 0 :: else fi;
     RECEIVER_MAY_FAIL;
#endif
#ifndef MUTANT_NO_BARRIER
     atomic { DrainAll() }
     RECEIVER_MAY_FAIL;
#endif
     atomic {
       if
#ifdef MUTANT_CLEARED_FOR_LATER_PARKS
       :: streams == seen_streams -> streams = 0
#else
       :: streams == seen_streams && seen_streams <= parked -> streams = 0
#endif
       :: else
       fi
     }
  :: else
  fi;
  RECEIVER_MAY_FAIL;
#ifndef MUTANT_NO_LOOK_AGAIN
  atomic {
    if
    :: visible[0] > taken[0] -> found = true
#if SENDERS == 2
    :: visible[1] > taken[1] -> found = true
#endif
    :: else
    fi
  }
#endif
  if :: found -> goto up :: else fi;
  RECEIVER_MAY_FAIL;
  // FutexWait
#ifdef MUTANT_GATE_READ_AFTER_LOOK
  seen_gate = gate;
#endif
  atomic { if :: gate == seen_gate -> sleeps[r] = true :: else fi }
end_sleep:
  !sleeps[r];
up:
  RECEIVER_MAY_FAIL;
  // Parker::Unpark
#ifdef MUTANT_AWAKE_IS_LATEST_PARK
  if :: SOLE -> awake = parks + 1 :: else fi;
#else
  if :: SOLE -> awake = parked :: else fi;
#endif
  atomic { seen_gate = 0; parked = 0; seen_streams = 0; found = false };
  goto again;
end_failed:
  skip
}

#if defined(SENDER_FAILS) || defined(RECEIVER_FAILS)
// Destination::Close executes a barrier, and Broker::ReleaseClaims and ProcessGone ring.
proctype Agent() {
end:
  atomic {
#ifdef SENDER_FAILS
    sender_life[0] == DEAD
#else
    receiver_life[0] == DEAD
#endif
    -> DrainAll()
  }
#ifndef MUTANT_AGENT_DOES_NOT_RING
  gate++;
  WakeAll();
#endif
  rung_by_agent = true
}
#endif

#define LEFT(s) (visible[s] > taken[s] && (returned[s] || sender_life[s] == DEAD))
#define IDLE(r) (sleeps[r] && receiver_life[r] == RUNS)

proctype Watch() {
  // Nothing can move any more.
  timeout ->
  assert(!(IDLE(0) && LEFT(0)));
#if RECEIVERS == 2
  assert(!(IDLE(1) && LEFT(0)));
#endif
#if SENDERS == 2
  assert(!(IDLE(0) && LEFT(1)));
#if RECEIVERS == 2
  assert(!(IDLE(1) && LEFT(1)));
#endif
#endif
  // And somebody has seen to it all, if there is anybody.
  assert(receiver_life[0] != RUNS || sender_life[0] != RUNS || taken[0] == MESSAGES)
}

init {
  atomic {
    run StoreBuffer(0);
    run Sender(0);
    run Receiver(0);
#if SENDERS == 2
    run StoreBuffer(1);
    run Sender(1);
#endif
#if RECEIVERS == 2
    run Receiver(1);
#endif
#if defined(SENDER_FAILS) || defined(RECEIVER_FAILS)
    run Agent();
#endif
    run Watch()
  }
}
