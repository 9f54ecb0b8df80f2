// core/lane/cell_writer.cc and cell_reader.cc: order, slot and state of a mailbox lane, claims, returns
// and the death of a claimant.
//
// A sender sends MESSAGES through SLOTS slots; two receivers compete. Each of them copies a message
// and takes it in one step (TakeSmall), or claims it, copies it, and takes it (Take) or gives it back
// (Return, GIVEN_BACK times in all). With FAILS receiver 0 may die or stop after every step, and the
// agent takes a dead one's claims away.
//
// Shown: claims come in the order of sending, but for returned messages, which come first; no message
// is lost, doubled or torn; and nobody else waits for a receiver that is stopped.
#include "process.pml"

#define SLOTS 2
#define ENTRIES 4
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef GIVEN_BACK
#define GIVEN_BACK 1
#endif

#define DONE 0
#define LEASED 1
#define RETURNED 3

// Written by the sender. A body is two halves, each the message's position.
byte entry_position[ENTRIES], entry_slot[ENTRIES];
byte slot_sequence[SLOTS], first_half[SLOTS], second_half[SLOTS];
byte use[SLOTS];  // its own books: the position that the slot stands for
bool sent;
// Written by everybody.
byte state_sequence[SLOTS], state_owner[SLOTS], state_phase[SLOTS];
byte returns;

byte life;                      // of receiver 0
bool released;                  // by the agent
byte claims;                    // first claims so far
byte delivered[MESSAGES + 1];   // how often, to whoever lives or lived
bool returned[MESSAGES + 1];    // was given back, so it may come again
byte given_back;
byte ended;                     // messages that are done

#define STATE_IS(x, p, o, f) (state_sequence[x] == p && state_owner[x] == o && state_phase[x] == f)
#define REUSABLE(x) (state_phase[x] == DONE && state_sequence[x] == use[x])

inline SetState(x, p, o, f) { state_sequence[x] = p; state_owner[x] = o; state_phase[x] = f }

#ifdef MUTANT_SLOT_USED_BEFORE_DONE
#define FREE(x) (state_sequence[x] == use[x])
#else
#define FREE(x) REUSABLE(x)
#endif

proctype Sender() {
  byte position = 1, x;
  do
  :: position <= MESSAGES ->
     atomic {
       if
       :: FREE(0) -> x = 0
       :: FREE(1) -> x = 1
       fi;
       use[x] = position
     }
     first_half[x] = position;
     second_half[x] = position;
#ifdef MUTANT_ENTRY_BEFORE_SLOT
     d_step { entry_slot[position % ENTRIES] = x; entry_position[position % ENTRIES] = position }
     slot_sequence[x] = position;
#else
     slot_sequence[x] = position;
     d_step { entry_slot[position % ENTRIES] = x; entry_position[position % ENTRIES] = position }
#endif
     position++
  :: else -> break
  od;
  sent = true
}

#ifdef FAILS
#define MAY_FAIL if :: r == 0 -> life = DEAD; goto end_failed :: r == 0 -> life = STOPPED; goto end_failed :: true fi
#else
#define MAY_FAIL skip
#endif

inline Copy() {
  one = first_half[x];
  two = second_half[x]
}

inline Deliver() {
  d_step {
    assert(one == position && two == position);
    assert(delivered[position] == 0 || returned[position]);
    delivered[position]++
  }
}

#define NOTHING_MORE (sent && next > MESSAGES && returns == returns_seen)

proctype Receiver(byte r) {
  byte next = 1, returns_seen = 0, returns_now;
  byte x, position, seen_sequence, seen_owner, seen_phase, one, two;
  bool found, was_returned;
again:
  MAY_FAIL;
  atomic { x = 0; position = 0; seen_sequence = 0; seen_owner = 0; seen_phase = 0; one = 0; two = 0; found = false; was_returned = false }
  // FindReturned
  returns_now = returns;
  if
  :: returns_now != returns_seen ->
     do
     :: x < SLOTS && !found ->
        atomic { seen_sequence = state_sequence[x]; seen_owner = state_owner[x]; seen_phase = state_phase[x] }
        if
        :: seen_phase == RETURNED -> position = slot_sequence[x]; found = true; was_returned = true
        :: else -> x++
        fi
     :: else -> break
     od;
#ifdef MUTANT_RETURNS_SETTLED_BY_A_FIND
     returns_seen = returns_now;
#else
     if :: !found -> returns_seen = returns_now :: else fi;
#endif
  :: else
  fi;
  returns_now = 0;
  if
  :: found -> goto claim
  :: else
  fi;
  // Peek
  atomic { position = entry_position[next % ENTRIES]; x = entry_slot[next % ENTRIES] }
  if
  :: position < next ->
     // Nothing here: sleep until something changes.
     atomic {
       if
       :: entry_position[next % ENTRIES] >= next
       :: returns != returns_seen
       :: NOTHING_MORE && ended == MESSAGES -> goto end_done
       fi
     }
     goto again
  :: position > next -> next++; goto again
  :: else
  fi;
#ifdef MUTANT_SLOT_READ_BEFORE_STATE
  if :: slot_sequence[x] != next -> next++; goto again :: else fi;
  MAY_FAIL;
#endif
  atomic { seen_sequence = state_sequence[x]; seen_owner = state_owner[x]; seen_phase = state_phase[x] }
#ifdef MUTANT_SLOT_READ_BEFORE_STATE
  // And free is what has another number; of "not claimed since" either order would be right.
  if :: seen_sequence == next -> next++; goto again :: else fi;
#else
  if :: seen_sequence >= next || seen_phase != DONE -> next++; goto again :: else fi;
#endif
#ifndef MUTANT_SLOT_READ_BEFORE_STATE
  if :: slot_sequence[x] != next -> next++; goto again :: else fi;
#endif
claim:
  MAY_FAIL;
  if
  :: !was_returned ->
     // TakeSmall
#ifndef MUTANT_TAKEN_BEFORE_COPY
     Copy();
#endif
     MAY_FAIL;
     atomic {
       if
       :: STATE_IS(x, seen_sequence, seen_owner, seen_phase) ->
          SetState(x, position, r + 1, DONE);
          ended++;
          claims++;
          assert(position == claims);
#ifndef MUTANT_TAKEN_BEFORE_COPY
          Deliver()
#endif
       :: else
       fi
     }
#ifdef MUTANT_TAKEN_BEFORE_COPY
     if
     :: state_sequence[x] == position && state_owner[x] == r + 1 -> MAY_FAIL; Copy(); Deliver()
     :: else
     fi;
#endif
     goto again
  :: true
  fi;
  // Claim
  atomic {
    if
#ifdef MUTANT_CLAIM_WITHOUT_COMPARE
    :: true ->
#else
    :: STATE_IS(x, seen_sequence, seen_owner, seen_phase) ->
#endif
       SetState(x, position, r + 1, LEASED);
       if
       :: !was_returned -> claims++; assert(position == claims)
       :: else
       fi
    :: else -> goto again
    fi
  }
  MAY_FAIL;
  if
  :: atomic { given_back < GIVEN_BACK -> given_back++ }
     // Return
     returns++;
     MAY_FAIL;
     atomic {
       assert(STATE_IS(x, position, r + 1, LEASED));
       returned[position] = true;
       SetState(x, position, 0, RETURNED)
     }
     MAY_FAIL;
#ifndef MUTANT_RETURNS_BUMPED_ONCE
     returns++;
#endif
  :: true ->
     // Copied before it is taken: whoever dies in between has not received it.
#ifdef MUTANT_DONE_BEFORE_COPY
     atomic { SetState(x, position, r + 1, DONE); ended++ }
     MAY_FAIL;
     Copy();
     Deliver();
#else
     Copy();
     MAY_FAIL;
     atomic {
       assert(STATE_IS(x, position, r + 1, LEASED));
       SetState(x, position, r + 1, DONE);
       ended++;
       Deliver()
     }
#endif
  fi;
  goto again;
end_done:
end_failed:
  skip
}

// ReleaseClaimsOf(1)
proctype Agent() {
  byte x;
end_waits:
  life == DEAD;
#ifndef MUTANT_DEATH_WITHOUT_RETURNS
  returns++;
#endif
  do
  :: x < SLOTS ->
     atomic {
       if
       :: state_phase[x] == LEASED && state_owner[x] == 1 ->
          returned[state_sequence[x]] = true;
          SetState(x, state_sequence[x], 0, RETURNED)
       :: else
       fi
     }
     x++
  :: else -> break
  od;
#if !defined(MUTANT_DEATH_WITHOUT_RETURNS) && !defined(MUTANT_RETURNS_BUMPED_ONCE)
  returns++;
#endif
  released = true
}

#define HELD_BY_STOPPED(x) (life == STOPPED && state_phase[x] == LEASED && state_owner[x] == 1)

proctype Watch() {
  byte i = 1, missing, held;
  timeout ->
  d_step {
    held = (HELD_BY_STOPPED(0) -> 1 : 0) + (HELD_BY_STOPPED(1) -> 1 : 0);
    // One that is stopped in the midst of Return has not said so: what it returned may be unseen.
    if
    :: life == STOPPED && given_back > 0 ->
       held = held + (state_phase[0] == RETURNED -> 1 : 0) + (state_phase[1] == RETURNED -> 1 : 0)
    :: else
    fi;
    do
    :: i <= MESSAGES -> missing = missing + (delivered[i] == 0 -> 1 : 0); i++
    :: else -> break
    od;
    assert(sent);
    assert(missing <= held)
  }
}

init {
  atomic {
    run Sender();
    run Receiver(0);
    run Receiver(1);
    run Agent();
    run Watch()
  }
}
