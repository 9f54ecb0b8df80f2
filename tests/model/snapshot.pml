// SnapshotWriter::Publish and SnapshotReader::ReadFirst: one writes versions into buffers in turn and says which is
// the last; another copies that, word by word, and sees afterwards whether it may have been written meanwhile.
// With FAILS the writer dies, or stops, after any step, and when it is known to be dead another goes on.
//
// Shown: who reads gets one whole version, no older one than the last when its read began; it copies anew only
// when BUFFERS - 1 versions came meanwhile, and so it ends when the writer stops, wherever that is; and who
// writes next goes on with the version that was not published.
#define BUFFERS 3
#define VERSIONS 7
#define READS 2

byte latest;
// Of which version each word is.
byte first[BUFFERS], second[BUFFERS];
bool dead;
bool read;

#ifdef FAILS
#define MAY_DIE if :: me == 1 -> goto died :: true fi
#else
#define MAY_DIE skip
#endif

proctype Writer(byte me) {
  byte v;
#ifndef MUTANT_TWO_WRITERS
  (me == 1 || dead);
#endif
  v = latest;
#ifdef MUTANT_HEIR_SKIPS_A_VERSION
  if
  :: me == 2 -> v++
  :: else
  fi;
#endif
  do
  :: v >= VERSIONS -> break
  :: v < VERSIONS ->
     v++;
     MAY_DIE;
#ifdef MUTANT_NUMBER_BEFORE_WORDS
     latest = v;
#endif
     first[v % BUFFERS] = v;
     MAY_DIE;
#ifdef MUTANT_NUMBER_BEFORE_LAST_WORD
     // As if it did not release the words.
     latest = v;
#endif
     second[v % BUFFERS] = v;
     MAY_DIE;
#ifdef MUTANT_NEXT_WORD_BEFORE_NUMBER
     // As without the fence before the first word.
     first[(v + 1) % BUFFERS] = v + 1;
#endif
     latest = v
  od;
  goto ended;
died:
  dead = true;
ended:
  skip
}

#ifdef MUTANT_ONE_VERSION_MORE
#define WHOLE (again - v < BUFFERS)
#else
#define WHOLE (again - v < BUFFERS - 1)
#endif

proctype Reader() {
  byte began, v, one, two, again, tries, round;
  do
  :: round == READS -> break
  :: round < READS ->
     atomic { latest > 0 -> began = latest; tries = 0 };
     do
     :: v = latest;
#ifdef MUTANT_SECOND_LOOK_BEFORE_COPY
        again = latest;
#endif
        one = first[v % BUFFERS];
#ifdef MUTANT_LAST_WORD_AFTER_SECOND_LOOK
        // As without the fence behind the last word.
        again = latest;
#endif
        two = second[v % BUFFERS];
#ifdef MUTANT_NO_SECOND_LOOK
        again = v;
#else
#ifndef MUTANT_SECOND_LOOK_BEFORE_COPY
#ifndef MUTANT_LAST_WORD_AFTER_SECOND_LOOK
        again = latest;
#endif
#endif
#endif
        if
        :: WHOLE -> break
        :: else
        fi;
        tries++;
        assert(tries * (BUFFERS - 1) <= latest - began)
     od;
     assert(one == v && two == v);
     assert(v >= began);
     round++
  od;
  read = true
}

proctype Watch() {
  timeout ->
  // A first writer may die before there is a version, but then the next publishes one.
  assert(latest == VERSIONS && read)
}

init {
  atomic {
    run Writer(1);
#if defined(FAILS) || defined(MUTANT_TWO_WRITERS)
    run Writer(2);
#endif
    run Reader();
    run Watch()
  }
}
