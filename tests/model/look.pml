// ReceiveQueue::TakeBest: the best message of several places, each looked at in a step of its own. A
// place is a priority of a lane, or a lane of a mailbox, whose order is by stamp: the places here go
// from the best to the worst. Two receivers compete; senders send in any order, one after another.
//
// Shown: who takes a message leaves no better one whose send had returned before this one's was
// called, and no message is taken twice or left.
#include "process.pml"

#define PLACES 3

bool there[PLACES], taken[PLACES];
byte sent;              // bits: sends that have returned
byte before[PLACES];    // what of them had returned when this one was called

#define IS_THERE(p) (there[p] && !taken[p])

proctype Senders() {
  byte p, count = 0;
  do
  :: count == PLACES -> break
  :: else ->
     if
     :: (sent & 1) == 0 -> p = 0
     :: (sent & 2) == 0 -> p = 1
     :: (sent & 4) == 0 -> p = 2
     fi;
     before[p] = sent;
     there[p] = true;
     sent = sent | (1 << p);
     count++
  od
}

proctype Receiver() {
  byte best, p, better, looks;
again:
  atomic { best = PLACES; looks = 0; better = 0 }
look:
  p = 0;
  better = best;
  // Find, or FindBetter: from the best place on, up to that of the candidate.
  do
  :: p < better ->
     if
     :: IS_THERE(p) -> better = p
     :: else -> p++
     fi
  :: else -> break
  od;
  if
  :: better < best ->
     best = better;
     looks++;
#ifdef MUTANT_NO_SECOND_LOOK
     goto claim
#elif defined(MUTANT_ONE_SECOND_LOOK)
     if :: looks == 2 -> goto claim :: else -> goto look fi
#else
     goto look
#endif
  :: else
  fi;
  if
  :: best == PLACES ->
     if
     :: IS_THERE(0) || IS_THERE(1) || IS_THERE(2) -> goto again
     :: taken[0] && taken[1] && taken[2] -> goto end_done
     fi
  :: else
  fi;
claim:
  atomic {
    if
#ifdef MUTANT_CLAIM_WITHOUT_COMPARE
    :: true ->
#else
    :: !taken[best] ->
#endif
       assert(!taken[best]);
       // A better one that was there before is somebody's already.
       assert(best < 1 || (before[best] & 1) == 0 || taken[0]);
       assert(best < 2 || (before[best] & 2) == 0 || taken[1]);
       taken[best] = true
    :: else
    fi
  }
#ifdef MUTANT_LOST_CLAIM_TAKES_THE_NEXT
  if
  :: best < PLACES - 1 ->
     atomic {
       best++;
       if
       :: IS_THERE(best) -> assert((before[best] & 1) == 0 || taken[0]); assert(best < 2 || (before[best] & 2) == 0 || taken[1]); taken[best] = true
       :: else
       fi
     }
  :: else
  fi;
#endif
  goto again;
end_done:
  skip
}

proctype Watch() { timeout -> assert(taken[0] && taken[1] && taken[2]) }

init {
  atomic {
    run Senders();
    run Receiver();
    run Receiver();
    run Watch()
  }
}
