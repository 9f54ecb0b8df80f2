// TryAcquire, Park and PassOn of core/sync/semaphore_memory, and WakeSleeper of sync_layout: two who
// wait for a unit each, which holders free, without the look after 50 ms. With two units two holders
// free them one after the other. With one (GIVEN_BACK) this is mutex_memory: who gets it frees it
// again, and a third comes by.
//
// Any of them may die after every step (FAILS, one at most); the agent then frees what it holds, and
// wakes all.
//
// Shown: at the end nobody sleeps beside a free unit, and no unit is lost or doubled.
#include "process.pml"

#ifdef GIVEN_BACK
#define UNITS 1
#else
#define UNITS 2
#endif
#define FREE 9  // nobody's

byte cell[UNITS];  // who holds it
byte gate;
bool sleepers;
bool asleep[5];  // by who: 1 and 2 wait, 3 and 4 free
byte dead;       // who has died; 0: nobody

#ifdef FAILS
#define MAY_FAIL if :: atomic { dead == 0 -> dead = me; goto end_failed } :: true fi
#else
#define MAY_FAIL skip
#endif

inline WakeOne() {
  gate++;
  MAY_FAIL;
  atomic { if :: asleep[1] -> asleep[1] = false :: asleep[2] -> asleep[2] = false :: else fi }
}

inline Freed() {
#ifndef MUTANT_SLEEPERS_READ_BEFORE_FREED
  flag = sleepers;
#endif
  MAY_FAIL;
  if
  :: flag ->
     sleepers = false;
     MAY_FAIL;
     WakeOne()
  :: else
  fi
}

// Makes a free cell one's own; `got` says whether there was one.
inline Try() {
  at = 0;
  got = false;
  do
  :: at == UNITS -> break
  :: else ->
     atomic { if :: cell[at] == FREE -> cell[at] = me; got = true :: else -> at++ fi }
     if :: got -> break :: else fi
  od;
  MAY_FAIL
}

proctype Waiter(byte me) {
  byte at, seen;
  bool got, slept, flag;
  do
  :: Try();
     if :: got -> break :: else fi;
#ifndef MUTANT_GATE_READ_AFTER_LOOK
     seen = gate;
#endif
#ifdef MUTANT_SAID_ONLY_WHILE_HELD
     if :: cell[0] != FREE -> sleepers = true :: else fi;
#else
     sleepers = true;
#endif
     MAY_FAIL;
#ifndef MUTANT_NO_LOOK_AGAIN
     Try();
     if :: got -> break :: else fi;
#endif
#ifdef MUTANT_GATE_READ_AFTER_LOOK
     seen = gate;
#endif
     atomic { if :: gate == seen -> asleep[me] = true :: else fi }
end_sleep:
     !asleep[me];
     slept = true
  od;
#ifndef MUTANT_NO_FLAG_AGAIN
  if
  :: slept ->
     // PassOn
     sleepers = true;
     MAY_FAIL;
#if !defined(MUTANT_NOTHING_PASSED_ON) && !defined(GIVEN_BACK)
     at = 0;
     do
     :: at == UNITS -> break
     :: at < UNITS && cell[at] == FREE -> break
     :: at < UNITS && cell[at] != FREE -> at++
     od;
     if :: at < UNITS -> Freed() :: else fi
#endif
  :: else
  fi;
#endif
#ifdef GIVEN_BACK
  MAY_FAIL;
  atomic { assert(cell[0] == me); cell[0] = FREE }
  Freed();
#endif
end_failed:
  skip
}

proctype Holder(byte me) {
  bool flag;
#ifdef GIVEN_BACK
  // The second of them comes by when it is free.
end_passer:
  atomic { me == 3 || cell[0] == FREE -> cell[0] = me }
#endif
  MAY_FAIL;
#ifdef MUTANT_SLEEPERS_READ_BEFORE_FREED
  flag = sleepers;
#endif
  atomic { assert(cell[(me - 3) % UNITS] == me); cell[(me - 3) % UNITS] = FREE }
  Freed();
end_failed:
  skip
}

// RemoveHolder, and WakeAll.
proctype Agent() {
  byte at;
end_alive:
  dead != 0;
  do
  :: at == UNITS -> break
  :: else -> atomic { if :: cell[at] == dead -> cell[at] = FREE :: else fi; at++ }
  od;
#ifndef MUTANT_AGENT_DOES_NOT_WAKE
  gate++;
  atomic { asleep[1] = false; asleep[2] = false }
#endif
}

proctype Watch() {
  timeout ->
  assert(cell[0] != FREE && cell[UNITS - 1] != FREE ||
         !(asleep[1] && dead != 1) && !(asleep[2] && dead != 2));
  assert(UNITS == 1 || cell[0] == FREE || cell[0] != cell[UNITS - 1])
}

init {
  atomic {
    cell[0] = 3;
    if :: UNITS == 2 -> cell[UNITS - 1] = 4 :: else fi;
    run Waiter(1);
    run Waiter(2);
    run Holder(3);
    run Holder(4);
#ifdef FAILS
    run Agent();
#endif
    run Watch()
  }
}
