// core/lane/ring_writer.cc and ring_reader.cc: a ring with one sender and one receiver, of LINES lines and
// records of two, whose second line has body where another record may have its head. The sender dies after any step, DEATHS times, and another one takes the ring up
// again (Recover).
//
// Shown: all messages come, whole, once and in order; the receiver never takes an old record, or a
// half-written one, for the next; and who recovers finds the place to go on from.
#include "process.pml"

#ifdef MUTANT_NO_LINE_IS_LEFT
#define LINES 6  // which records can fill
#else
#define LINES 5
#endif
#define BODY 99
#define MESSAGES 5
#define DEATHS 2

// A head is the number of its message, 0: not published. A body is two halves, one in each line, and
// each is the number.
byte head[LINES], half[LINES];
byte tail_line, tail_sequence;  // one word
byte consumed;                  // lines
byte deaths, sent;

#define MAY_DIE if :: deaths < DEATHS -> deaths++; goto recover :: true fi

#ifdef MUTANT_NO_LINE_IS_LEFT
#define HAS_ROOM (line - consumed + 2 <= LINES)
#else
#define HAS_ROOM (line - consumed + 2 < LINES)
#endif

proctype Sender() {
  byte line = 0, sequence = 0, walked;
go_on:
  do
  :: sequence == MESSAGES -> break
  :: sequence < MESSAGES && HAS_ROOM ->
#if !defined(MUTANT_NO_ZERO_AHEAD) && !defined(MUTANT_ZERO_AFTER_PUBLISH)
     head[(line + 2) % LINES] = 0;
     MAY_DIE;
#endif
#ifdef MUTANT_HEAD_BEFORE_BODY
     head[line % LINES] = sequence + 1;
     MAY_DIE;
#endif
     half[line % LINES] = sequence + 1;
     MAY_DIE;
     atomic { head[(line + 1) % LINES] = BODY; half[(line + 1) % LINES] = sequence + 1 }
     MAY_DIE;
#ifndef MUTANT_HEAD_BEFORE_BODY
     head[line % LINES] = sequence + 1;
     MAY_DIE;
#endif
#ifdef MUTANT_ZERO_AFTER_PUBLISH
     head[(line + 2) % LINES] = 0;
     MAY_DIE;
#endif
     sequence++;
     sent = sequence;  // its Send returns
#ifndef MUTANT_NO_TAIL
     atomic { tail_line = line; tail_sequence = sequence }
#endif
     line = line + 2;
     MAY_DIE
  od;
  goto end_sent;
recover:
  atomic {
    line = tail_line;
    sequence = (tail_sequence == 0 -> 0 : tail_sequence - 1);
    walked = 0
  }
  do
  :: head[line % LINES] == 0 || walked > LINES -> break
  :: else ->
     assert(head[line % LINES] == sequence + 1);
     atomic { sequence++; line = line + 2; walked++ }
  od;
  assert(walked <= LINES);
  assert(sequence >= sent);
  atomic { walked = 0; sent = sequence }
#ifndef MUTANT_NO_TAIL_AFTER_RECOVERY
  atomic { if :: sequence > 0 -> tail_line = line - 2; tail_sequence = sequence :: else fi }
#endif
  goto go_on;
end_sent:
  skip
}

proctype Receiver() {
  byte line = 0, taken = 0, one, two;
  do
  :: taken == MESSAGES -> break
  :: taken < MESSAGES && head[line % LINES] != 0 ->
     assert(head[line % LINES] == taken + 1);
#ifdef MUTANT_CONSUMED_BEFORE_COPY
     consumed = line + 2;
#endif
     one = half[line % LINES];
     two = half[(line + 1) % LINES];
     assert(one == taken + 1 && two == taken + 1);
     atomic { line = line + 2; taken++; one = 0; two = 0 }
#ifndef MUTANT_CONSUMED_BEFORE_COPY
     consumed = line;
#endif
  od
}

proctype Watch() { timeout -> assert(consumed == 2 * MESSAGES) }

init {
  atomic {
    run Sender();
    run Receiver();
    run Watch()
  }
}
