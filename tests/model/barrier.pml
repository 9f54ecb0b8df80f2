// Arrive, Passed and Leave of core/sync/barrier_memory: more parties than there are places come to a
// barrier, wait or leave, for some generations.
//
// Party 1 may die after every step (FAILS); the agent then gives up its place, as Leave does.
//
// Shown: when the barrier is tripped all places are somebody's; who had a place then passes, unless
// it is dead, and nobody else does; nobody waits for ever beside a barrier to which all have come.
#include "process.pml"

#define CELLS 2
#define PARTIES 3

// A cell: {who, generation, leaving}.
#define WORD(who, generation, leaving) ((who) * 16 + (generation) * 2 + (leaving))
#define WHO(word) ((word) / 16)
#define TAG(word) (((word) / 2) % 8)
#define LEAVING(word) ((word) % 2)

byte cell[CELLS];
byte generation, changes;
byte leaves;  // how often somebody leaves, at most LEAVES
// Who had a place when a generation ended, as bits.
byte members[GENERATIONS];
byte waits;  // who sleeps, as bits: nothing has changed since it has looked
byte life;

#ifdef FAILS
#define MAY_FAIL if :: me == 1 -> life = DEAD; goto end_failed :: true fi
#else
#define MAY_FAIL skip
#endif

#ifdef MUTANT_WHO_LEAVES_COUNTS
#define COUNTS(word, of) (WHO(word) != 0 && TAG(word) == (of))
#else
#define COUNTS(word, of) (WHO(word) != 0 && TAG(word) == (of) && !LEAVING(word))
#endif

#ifdef MUTANT_GIVEN_UP_AS_NEW
#define GIVEN_UP(of) 0
#else
#define GIVEN_UP(of) WORD(0, of, 0)
#endif

// TryTrip(mine), with `at`, `seen` and `old`.
inline TryTrip() {
  do
  :: generation != mine -> break
  :: else ->
     atomic { old = changes; seen = generation }
     at = 0;
     do
     :: at < CELLS && COUNTS(cell[at], mine) -> at++
     :: at < CELLS && !COUNTS(cell[at], mine) -> break
     :: at == CELLS -> break
     od;
     if
     :: at < CELLS -> break
     :: else ->
        atomic {
          if
          :: generation == seen && seen == mine && changes == old ->
             at = 0;
             do
             :: at < CELLS ->
                assert(WHO(cell[at]) != 0);
                members[mine] = members[mine] | (1 << WHO(cell[at]));
                at++
             :: else -> break
             od;
             generation++;
             waits = 0;
             at = 0
          :: else -> at = CELLS
          fi
        }
        if :: at == 0 -> break :: else fi
     fi
  od;
  at = 0
}

// The cell `place` was made `leaving`; `left` says whether it has left.
inline Depart(who) {
  left = false;
  do
  :: generation != mine -> break
  :: else ->
#ifdef MUTANT_NOTHING_CHANGES
     left = true;
#else
     old = changes;
     atomic {
       if
       :: generation == mine && changes == old -> changes++; left = true
       :: else
       fi
     }
#endif
     if
     :: left ->
        atomic { if :: cell[place] == WORD(who, mine, 1) -> cell[place] = GIVEN_UP(mine) :: else fi }
        waits = 0;
        break
     :: else
     fi
  od
}

proctype Party(byte me) {
  byte mine, place, at, seen, old, word;
  bool left;
  do
  :: generation == GENERATIONS -> break
  :: else ->
     // Arrive
     mine = generation;
     if :: mine == GENERATIONS -> break :: else fi;
     place = 0;
     do
     :: place == CELLS -> break
     :: else ->
        word = cell[place];
        MAY_FAIL;
#ifndef MUTANT_NO_SECOND_LOOK_AT_GENERATION
        if :: generation != mine -> place = CELLS; break :: else fi;
#endif
        if
        :: WHO(word) != 0 && TAG(word) == mine -> place++
        :: else ->
           atomic {
             if
             :: cell[place] == word -> cell[place] = WORD(me, mine, 0); word = 255; waits = 0
             :: else -> place++
             fi
           }
           if :: word == 255 -> break :: else fi
        fi
     od;
     word = 0;
     MAY_FAIL;
     if
     :: place == CELLS ->
        TryTrip();
        // All are taken: until something changes.
        if
        :: atomic { generation == mine -> waits = waits | (1 << me) }
end_full:
           (waits & (1 << me)) == 0
        :: else
        fi
     :: else ->
#ifdef MUTANT_ARRIVED_LOOKS_AGAIN
        if :: generation != mine -> goto again :: else fi;
#endif
        // Arrive ends with it, and Passed begins with it: one stands for both.
        do
        :: generation != mine -> break
        :: else ->
           TryTrip();
           MAY_FAIL;
           if
           :: generation != mine -> break
           :: atomic { generation == mine -> waits = waits | (1 << me) }
end_wait:
              (waits & (1 << me)) == 0
           :: atomic { generation == mine && leaves < LEAVES -> leaves++ }
              // Leave
#ifdef MUTANT_GIVEN_UP_BEFORE_CHANGES
              atomic {
                if
                :: cell[place] == WORD(me, mine, 0) -> cell[place] = GIVEN_UP(mine); left = true
                :: else -> left = false
                fi
              }
              if
              :: left -> Depart(me)
              :: else
              fi;
#else
              atomic {
                if
                :: cell[place] == WORD(me, mine, 0) -> cell[place] = WORD(me, mine, 1); left = true
                :: else -> left = false
                fi
              }
              MAY_FAIL;
              if
              :: left -> Depart(me)
              :: else -> assert(generation != mine)
              fi;
#endif
              MAY_FAIL;
              if
              :: left -> assert((members[mine] & (1 << me)) == 0); goto again
              :: else -> break
              fi
           fi
        od;
        // It passes.
        assert((members[mine] & (1 << me)) != 0);
        atomic { members[mine] = members[mine] & ~(1 << me) }
     fi;
again:
     left = false
  od;
end_failed:
  skip
}

// RemoveHolder, of party 1.
proctype Agent() {
  byte mine, place, old;
  bool left;
end_alive:
  life == DEAD;
  mine = generation;
  place = 0;
  do
  :: place == CELLS -> break
  :: else ->
     atomic {
       if
       :: WHO(cell[place]) == 1 && TAG(cell[place]) == mine -> cell[place] = WORD(1, mine, 1); left = true
       :: else -> left = false
       fi
     }
     if :: left -> Depart(1) :: else fi;
     place++
  od;
  waits = 0
}

proctype Watch() {
  byte g;
  timeout ->
  do
  :: g < GENERATIONS ->
     // Who had a place and has not passed is dead, if the generation has ended.
     assert(g >= generation || (members[g] & ~(life == DEAD -> 2 : 0)) == 0);
     g++
  :: else -> break
  od;
  assert(generation == GENERATIONS ||
         !(COUNTS(cell[0], generation) && COUNTS(cell[1], generation)))
}

init {
  atomic {
    run Party(1);
    run Party(2);
    run Party(3);
#ifdef FAILS
    run Agent();
#endif
    run Watch()
  }
}
