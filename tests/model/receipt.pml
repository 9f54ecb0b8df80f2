// core/lane/cell_ends.cc and cell_recovery.cc: the end of a message is read in its own slot, by a sender
// that is to tell it, and is kept there until it was seen, for whoever takes up the work of a sender that
// died.
//
// A sender (an agent, for a process of another node) sends MESSAGES through SLOTS slots. All but PLAIN want
// a receipt, whose number is the message's position and stands in its body. It tells the ends that it
// finds, hears some time later that one was seen, and forgets it. It dies after any step, CRASHES times,
// and the next one goes on with what is in memory. Two receivers take messages in one step, or claim them,
// and take them or give them back (GIVEN_BACK times in all). With RECEIVER_FAILS receiver 0 may die after
// every step, and the agent takes its claims away.
//
// With KEEPS=0 it is a process's own sender, whose receipts die with it: it reads the end of a message when
// it uses the slot again, at the latest.
//
// Shown: what is told is true, and never two ends of one message; of each message the end is told; and all
// room comes back. In which order messages are claimed is shown in cell.pml.
#include "process.pml"

#define SLOTS 2
#define MESSAGES 3
#define PLAIN 2
#define GIVEN_BACK 1

#define DONE 0
#define LEASED 1
#define TAKEN 2
#define RETURNED 3

// Written by the sender.
byte entry_slot[MESSAGES + 1];
bool published[MESSAGES + 1];  // its entry is there
byte slot_sequence[SLOTS], body[SLOTS];
bool flag[SLOTS];  // the end is to be told
// Written by the receivers and the agent.
byte state_sequence[SLOTS], state_owner[SLOTS], state_phase[SLOTS];
// The sender's own books, which die with it.
byte next = 1, use[SLOTS], receipt[SLOTS];
bool asked[SLOTS];  // it has not been told
byte found, found_owner;  // an end that was read when its slot was used again

byte crashes;
byte life;  // of receiver 0
byte given_back;
byte received_by[MESSAGES + 1];
bool told[MESSAGES + 1];

#define RECEIPT_OF(p) (p == PLAIN -> 0 : p)
#define STATE_IS(x, p, o, f) (state_sequence[x] == p && state_owner[x] == o && state_phase[x] == f)
#define REUSABLE(x) (state_phase[x] == DONE && state_sequence[x] == use[x])

inline SetState(x, p, o, f) { state_sequence[x] = p; state_owner[x] = o; state_phase[x] = f }

#if KEEPS && !defined(MUTANT_USED_BEFORE_FORGOTTEN)
#define FREE(x) (REUSABLE(x) && receipt[x] == 0)
#else
#define FREE(x) REUSABLE(x)
#endif

#ifdef MUTANT_LEASED_IS_AN_END
#define HAS_END(f) (f != RETURNED)
#else
#define HAS_END(f) (f == DONE || f == TAKEN)
#endif

#ifdef MUTANT_END_OF_THE_MESSAGE_BEFORE
#define ENDED(x) (asked[x] && HAS_END(state_phase[x]) && state_owner[x] != 0)
#else
#define ENDED(x) (asked[x] && HAS_END(state_phase[x]) && state_sequence[x] == use[x])
#endif

#define FINISHED (next > MESSAGES && FREE(0) && FREE(1) && receipt[0] == 0 && receipt[1] == 0 && found == 0)

#if CRASHES > 0
#define MAY_FAIL if :: crashes < CRASHES -> crashes++; goto recover :: true fi
#else
#define MAY_FAIL skip
#endif

inline Tell(p, o) {
  assert(received_by[p] == o);
  told[p] = true
}

// CellWriter::Recover
inline Recover() {
  d_step {
    next = 1; found = 0; found_owner = 0; x = 0;
    do
    :: x < SLOTS -> use[x] = 0; receipt[x] = 0; asked[x] = false; x++
    :: else -> break
    od;
    do
    :: next <= MESSAGES && published[next] -> use[entry_slot[next]] = next; next++
    :: else -> break
    od;
    x = 0;
    do
    :: x < SLOTS ->
       if
#ifdef MUTANT_POSITION_NOT_COMPARED
       :: flag[x] && use[x] != 0 ->
#else
       :: flag[x] && use[x] != 0 && slot_sequence[x] == use[x] ->
#endif
          receipt[x] = body[x];
          asked[x] = true
       :: else
       fi;
       x++
    :: else -> break
    od;
    x = 0
  }
}

proctype SenderProcess() {
  byte x;
recover:
  Recover();
  do
  // Append
  :: atomic {
       next <= MESSAGES && found == 0 && (FREE(0) || FREE(1)) ->
       if :: FREE(0) -> x = 0 :: FREE(1) -> x = 1 fi;
       // Release
       if
#ifndef MUTANT_END_NOT_READ
       :: asked[x] -> found = use[x]; found_owner = state_owner[x]
#endif
       :: else
       fi;
       receipt[x] = 0;
       asked[x] = false
     }
     flag[x] = false;
     MAY_FAIL;
     body[x] = RECEIPT_OF(next);
     MAY_FAIL;
#ifdef MUTANT_RECEIPT_BEFORE_POSITION
     if :: KEEPS && next != PLAIN -> flag[x] = true; MAY_FAIL :: else fi;
     slot_sequence[x] = next;
#else
     slot_sequence[x] = next;
     if :: KEEPS && next != PLAIN -> MAY_FAIL; flag[x] = true :: else fi;
#endif
     MAY_FAIL;
     atomic {
       entry_slot[next] = x;
       published[next] = true;
       use[x] = next;
       receipt[x] = RECEIPT_OF(next);
       asked[x] = receipt[x] != 0;
       next++;
       x = 0
     }
  // TakeEnds
  :: atomic { found != 0 -> Tell(found, found_owner); found = 0; found_owner = 0 }
  :: atomic { ENDED(0) -> x = 0 }
     goto tell
  :: atomic { ENDED(1) -> x = 1 }
tell:
#ifdef MUTANT_FORGOTTEN_BEFORE_TOLD
     flag[x] = false;
     MAY_FAIL;
#endif
     atomic {
       Tell(receipt[x], state_owner[x]);
       asked[x] = false;
       receipt[x] = (KEEPS -> receipt[x] : 0);
       x = 0
     }
  // It was seen: ForgetEnd
  :: atomic { KEEPS && receipt[0] != 0 && !asked[0] -> receipt[0] = 0; x = 0 }
     goto forget
  :: atomic { KEEPS && receipt[1] != 0 && !asked[1] -> receipt[1] = 0; x = 1 }
forget:
     MAY_FAIL;
     atomic { flag[x] = false; x = 0 }
#if CRASHES > 0
  :: atomic { crashes < CRASHES && !FINISHED -> crashes++; goto recover }
#endif
  :: FINISHED -> break
  od
}

#ifdef RECEIVER_FAILS
#define RECEIVER_MAY_FAIL if :: r == 0 -> life = DEAD; goto end_failed :: true fi
#else
#define RECEIVER_MAY_FAIL skip
#endif

#define IS_THERE(x) (slot_sequence[x] != 0 && published[slot_sequence[x]] && entry_slot[slot_sequence[x]] == x)
#define IS_NEW(x) (IS_THERE(x) && state_sequence[x] < slot_sequence[x])
#define IS_BACK(x) (IS_THERE(x) && state_sequence[x] == slot_sequence[x] && state_phase[x] == RETURNED)

inline Receive(p) {
  assert(received_by[p] == 0);
  received_by[p] = r + 1
}

proctype ReceiverProcess(byte r) {
  byte x, position;
end_waits:
  do
  // TakeSmall
  :: atomic { IS_NEW(0) -> Receive(slot_sequence[0]); SetState(0, slot_sequence[0], r + 1, DONE) }
  :: atomic { IS_NEW(1) -> Receive(slot_sequence[1]); SetState(1, slot_sequence[1], r + 1, DONE) }
  // Claim
  :: atomic {
       IS_NEW(0) || IS_BACK(0) || IS_NEW(1) || IS_BACK(1) ->
       if :: IS_NEW(0) || IS_BACK(0) -> x = 0 :: IS_NEW(1) || IS_BACK(1) -> x = 1 fi;
       position = slot_sequence[x];
       SetState(x, position, r + 1, LEASED)
     }
     RECEIVER_MAY_FAIL;
     if
     :: atomic { given_back < GIVEN_BACK -> given_back++; SetState(x, position, 0, RETURNED) }
     :: atomic {
          true ->
          assert(STATE_IS(x, position, r + 1, LEASED));
          Receive(position);
          SetState(x, position, r + 1, TAKEN)
        }
        RECEIVER_MAY_FAIL;
        // Done: its room is held no more.
        atomic { SetState(x, position, r + 1, DONE) }
     fi;
     atomic { x = 0; position = 0 }
  od;
end_failed:
  skip
}

// ReleaseClaimsOf(1)
proctype Agent() {
  byte x;
end_waits:
  life == DEAD;
  do
  :: x < SLOTS ->
     atomic {
       if
       :: state_phase[x] == LEASED && state_owner[x] == 1 ->
          SetState(x, state_sequence[x], 0, RETURNED)
       :: state_phase[x] == TAKEN && state_owner[x] == 1 ->
#ifdef MUTANT_OWNER_LOST_AT_DEATH
          SetState(x, state_sequence[x], 0, DONE)
#else
          SetState(x, state_sequence[x], 1, DONE)
#endif
       :: else
       fi
     }
     x++
  :: else -> break
  od
}

proctype Watch() {
  byte p = 1;
  timeout ->
  d_step {
    assert(FINISHED);
    do
    :: p <= MESSAGES -> assert(received_by[p] != 0 && (told[p] || p == PLAIN)); p++
    :: else -> break
    od
  }
}

init {
  atomic {
    run SenderProcess();
    run ReceiverProcess(0);
    run ReceiverProcess(1);
    run Agent();
    run Watch()
  }
}
