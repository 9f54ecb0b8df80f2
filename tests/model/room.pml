// ParkForRoom and RingSender of core/lane: a sender without room parks, and receivers that give room
// back wake it. This is a mailbox lane, whose receivers share last_room_rung; that of a ring is its one
// receiver's own.
//
// Receiver 0 may die or stop after every step (FAILS). What a receiver gives back, or writes at all,
// waits in its store buffer until it executes an exchange.
//
// Shown: the sender does not sleep for ever beside room that it can use; whoever is stopped between
// giving back and ringing is left out.
#include "process.pml"

#define ROOMS 2  // each receiver gives one back

byte given[ROOMS];    // in a receiver's store buffer or in memory
byte visible[ROOMS];
bool ended[ROOMS];
byte room_parks, room_gate;
byte last_rung;
bool sleeps, done;
byte life;

#ifdef FAILS
#define MAY_FAIL if :: r == 0 -> life = DEAD; goto end_failed :: r == 0 -> life = STOPPED; goto end_failed :: true fi
#else
#define MAY_FAIL skip
#endif

proctype StoreBuffer(byte r) {
end:
  do
  :: atomic { visible[r] < given[r] -> visible[r] = given[r] }
  od
}

// It needs all the room that there is: some of it does not do.
proctype Sender() {
  byte seen_gate;
  do
  :: visible[0] + visible[1] >= NEEDED -> break
  :: else ->
#ifndef MUTANT_GATE_READ_AFTER_LOOK
     seen_gate = room_gate;
#endif
     room_parks++;
#ifndef MUTANT_NO_LOOK_AGAIN
     if
     :: visible[0] + visible[1] >= NEEDED -> break
     :: else
     fi;
#endif
#ifdef MUTANT_GATE_READ_AFTER_LOOK
     seen_gate = room_gate;
#endif
     atomic { if :: room_gate == seen_gate -> sleeps = true :: else fi }
end_sleep:
     !sleeps;
     seen_gate = 0
  od;
  done = true
}

proctype Receiver(byte r) {
  byte parks;
  MAY_FAIL;
#ifdef MUTANT_PARKS_READ_BEFORE_GIVING
  parks = room_parks;
#endif
  atomic {
    given[r] = 1;
#ifndef MUTANT_GIVEN_BY_STORE
    visible[r] = 1
#endif
  }
  MAY_FAIL;
  // RingSender
#ifndef MUTANT_PARKS_READ_BEFORE_GIVING
  parks = room_parks;
#endif
  MAY_FAIL;
  if
  :: last_rung != parks ->
#ifdef MUTANT_RUNG_NOTED_BEFORE_RINGING
     last_rung = parks;
     MAY_FAIL;
#endif
     atomic { visible[r] = given[r]; room_gate++ }
     MAY_FAIL;
     sleeps = false;
     MAY_FAIL;
#ifndef MUTANT_RUNG_NOTED_BEFORE_RINGING
#ifdef MUTANT_RUNG_IS_LATEST_PARK
     last_rung = room_parks;
#else
     last_rung = parks;
#endif
#endif
  :: else
  fi;
  ended[r] = true;
end_failed:
  skip
}

proctype Watch() {
  timeout ->
  // Room that was given back by those who have ended.
  assert(!sleeps || (ended[0] -> visible[0] : 0) + (ended[1] -> visible[1] : 0) < NEEDED);
  assert(life != RUNS || done)
}

init {
  atomic {
    run StoreBuffer(0);
    run StoreBuffer(1);
    run Sender();
    run Receiver(0);
    run Receiver(1);
    run Watch()
  }
}
