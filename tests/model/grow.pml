// core/lane/ring_writer.cc: a ring of TOTAL lines of which the sender has reserved SMALL at first. It reserves
// the rest when it gets it, which may be never, and goes round before the end by padding; records have two
// lines. The sender dies after any step, DEATHS times; the next one begins with as much as it must have.
//
// Shown: nothing is written that is not reserved; all messages come, whole, once and in order, also when
// nothing more is ever reserved; and the receiver meets no padding after a padding.
#include "process.pml"

#define TOTAL 8
#ifdef MUTANT_TOO_SMALL_TO_GO_ROUND
#define SMALL 4
#else
#define SMALL 6  // two records of two lines, and a line that is left
#endif
#define BODY 99
#define PADDING 98
#define MESSAGES 6
#define DEATHS 2

byte head[TOTAL], half[TOTAL];
byte tail_line, tail_sequence;  // one word
byte consumed;
byte reserved = SMALL;  // lines that are there; nobody takes them away
byte deaths, sent;
bool all_came;

#define MAY_DIE if :: deaths < DEATHS -> deaths++; goto recover :: true fi
#define AT(l) ((l) % TOTAL)
#define TO_END (TOTAL - AT(line))
#define ROOM(lines) (line + (lines) - consumed < TOTAL)
#ifdef MUTANT_NO_LINE_IS_LEFT
#define END_OF(lines) (lines)
#else
#define END_OF(lines) ((lines) == TOTAL -> TOTAL : (lines) - 1)
#endif
#ifdef MUTANT_ROUND_WITHOUT_ROOM
#define ROOM_TO_GO_ROUND ROOM(2)
#else
#define ROOM_TO_GO_ROUND ROOM(TO_END + 2)
#endif
#define WRITES(l) assert(AT(l) < reserved)

proctype Sender() {
  byte line = 0, sequence = 0, walked, end = END_OF(SMALL);
go_on:
  do
  :: sequence == MESSAGES -> break
  :: sequence < MESSAGES && AT(line) + 2 > end && end < TOTAL ->
#ifdef MUTANT_TOO_SMALL_TO_GO_ROUND
     false
#endif
     atomic { reserved = TOTAL; end = TOTAL }
     MAY_DIE
  :: sequence < MESSAGES && AT(line) + 2 > end && ROOM_TO_GO_ROUND ->
#if !defined(MUTANT_NO_ZERO_AT_START) && !defined(MUTANT_PADDING_BEFORE_ZERO)
     WRITES(0);
     head[0] = 0;
     MAY_DIE;
#endif
     WRITES(line);
     head[AT(line)] = PADDING;
     MAY_DIE;
#ifdef MUTANT_PADDING_BEFORE_ZERO
     head[0] = 0;
     MAY_DIE;
#endif
#ifndef MUTANT_NO_TAIL_AT_PADDING
     atomic { tail_line = line; tail_sequence = sequence }
     MAY_DIE;
#endif
     line = line + TO_END
  :: sequence < MESSAGES && AT(line) + 2 <= end && ROOM(2) ->
     WRITES(line + 2);
     head[AT(line + 2)] = 0;
     MAY_DIE;
     half[AT(line)] = sequence + 1;
     MAY_DIE;
     WRITES(line + 1);
     atomic { head[AT(line + 1)] = BODY; half[AT(line + 1)] = sequence + 1 }
     MAY_DIE;
     WRITES(line);
     head[AT(line)] = sequence + 1;
     MAY_DIE;
     sequence++;
     sent = sequence;  // its Send returns
     atomic { tail_line = line; tail_sequence = sequence }
     line = line + 2;
     MAY_DIE
  od;
  goto end_sent;
recover:
  atomic {
    line = tail_line;
    sequence = (tail_sequence == 0 || head[AT(line)] == PADDING -> tail_sequence : tail_sequence - 1);
    walked = 0
  }
  do
  :: head[AT(line)] == 0 || walked > TOTAL -> break
#ifdef MUTANT_PADDING_ENDS_THE_WALK
  :: head[AT(line)] == PADDING -> break
#else
  :: head[AT(line)] == PADDING ->
     atomic {
#ifndef MUTANT_NO_TAIL_AT_PADDING_AFTER_RECOVERY
       tail_line = line;
       tail_sequence = sequence;
#endif
       line = line + TO_END;
       walked++
     }
#endif
  :: head[AT(line)] != 0 && head[AT(line)] != PADDING ->
     assert(head[AT(line)] == sequence + 1);
     atomic { sequence++; tail_line = line; tail_sequence = sequence; line = line + 2; walked++ }
  od;
  assert(walked <= TOTAL);
  assert(sequence >= sent);
  atomic {
    walked = 0;
    sent = sequence;
    end = (AT(line) < SMALL -> END_OF(SMALL) : TOTAL);
    assert(end <= reserved)
  }
  goto go_on;
end_sent:
  skip
}

proctype Receiver() {
  byte line = 0, taken = 0, one, two;
  do
  :: taken == MESSAGES -> break
  :: taken < MESSAGES && head[AT(line)] == PADDING ->
     line = line + TO_END;
     assert(head[AT(line)] != PADDING)
  :: taken < MESSAGES && head[AT(line)] != 0 && head[AT(line)] != PADDING ->
     assert(head[AT(line)] == taken + 1);
     one = half[AT(line)];
     two = half[AT(line + 1)];
     assert(one == taken + 1 && two == taken + 1);
     atomic { line = line + 2; taken++; one = 0; two = 0 }
     consumed = line
  od;
  all_came = true
}

proctype Watch() { timeout -> assert(all_came) }

init {
  atomic {
    run Sender();
    run Receiver();
    run Watch()
  }
}
