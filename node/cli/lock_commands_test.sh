#!/usr/bin/env bash
# Drives `mailrail lock`, `sem`, `barrier` and `locks` as scripts do.
# Usage: lock_commands_test.sh PROGRAM
# shellcheck disable=SC2016
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

# For what is run under a lock.
export mailrail dir
unset "${!MAILRAIL_LOCK_@}"

every_command_has_help_with_an_example() {
  local command
  for command in lock "lock run" "lock destroy" locks sem "sem run" "sem create" "sem wait" \
    "sem post" "sem value" "sem destroy" barrier "barrier wait" "barrier destroy"; do
    # shellcheck disable=SC2086
    exits 0 $command --help && grep -A1 'Example:' "$dir/out" | grep -q "mailrail ${command%% *}" ||
      return 1
  done
}
check EveryCommandHasHelpWithAnExample every_command_has_help_with_an_example

wrong_arguments_exit_with_3() {
  exits 3 lock && exits 3 lock run m && says command && exits 3 lock run m --read --write -- true &&
    says excludes && exits 3 lock destroy m --kind semaphore && says condition &&
    exits 3 sem run s -- true && says -- --limit && exits 3 sem run s --limit 0 -- true &&
    exits 3 barrier wait b --parties 5000 && exits 3 locks -o xml && exits 14 locks &&
    exits 14 lock run m -- true && says 'mailrail agent'
}
check WrongArgumentsExitWith3 wrong_arguments_exit_with_3

"$mailrail" agent --node alpha 2>"$dir/alpha.log" &
pids+=("$!")
eventually exits 0 nodes

# gives CODE ARGUMENTS...: mailrail ends with this code, whatever it prints.
gives() {
  local want=$1 got=0
  shift
  "$mailrail" "$@" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
  echo "mailrail $*: exit code $got: $(cat "$dir/err")"
  ((got == want))
}
# in_background NAME ARGUMENTS...: its output goes to NAME.out, its errors to NAME.err.
in_background() {
  local name=$1
  shift
  "$mailrail" "$@" >"$dir/$name.out" 2>"$dir/$name.err" </dev/null &
  pids+=("$!")
}
# ends PID NAME: its exit code.
ends() {
  local got=0
  wait "$1" || got=$?
  echo "$2 ended with $got: $(cat "$dir/$2.err")"
  return "$got"
}
# locks EXPRESSION: of the rows by name (`r`).
locks() { exits 0 locks -o json && json "(lambda r: $1)({x['name']: x for x in j})"; }
waited_for() { locks "len(r['$1']['waited_for_by']) == $2"; }
held() { locks "len(r['$1']['held_by']) == $2"; }

# A command that says in FILE which process it is, and goes on until it can read the fifo `go`.
mkfifo "$dir/go"
held_up='echo $$ >"$dir/$0.tmp"; mv "$dir/$0.tmp" "$dir/$0"; read -r _ <"$dir/go"'

the_exit_code_is_the_programs() {
  gives 0 lock run m -- true && gives 7 lock run m -- sh -c 'exit 7' && prints '' &&
    gives 137 lock run m -- sh -c 'kill -9 $$' && exits 5 lock run m -- "$dir/missing" &&
    says missing && locks 'r["m"]["state"] == "free"' && exits 0 lock destroy m &&
    exits 5 lock destroy m && says 'no mutex'
}
check TheExitCodeIsThePrograms the_exit_code_is_the_programs

input_and_output_are_the_programs() {
  echo hello | "$mailrail" lock run m -- tr a-z A-Z >"$dir/out" && prints $'HELLO\n'
}
check InputAndOutputAreThePrograms input_and_output_are_the_programs

the_fence_rises() {
  local first second
  first=$("$mailrail" lock run m -- sh -c 'echo $MAILRAIL_FENCE') &&
    second=$("$mailrail" lock run m -- sh -c 'echo $MAILRAIL_FENCE') && ((second > first && first > 0))
}
check TheFenceRises the_fence_rises

# What two of them did at a time would lose a number, or find the folder there.
two_never_overlap() {
  local worker workers=() i
  echo 0 >"$dir/count"
  for worker in 1 2; do
    for i in {1..15}; do
      "$mailrail" lock run m -- sh -c 'mkdir "$dir/busy" || exit 99
        n=$(cat "$dir/count"); echo $((n + 1)) >"$dir/count"; rmdir "$dir/busy"' || exit
    done &
    workers+=("$!")
  done
  for worker in "${workers[@]}"; do wait "$worker" || return 1; done
  [[ $(cat "$dir/count") == 30 ]]
}
check TwoNeverOverlap two_never_overlap

locks_shows_who_holds_and_who_waits() {
  in_background first lock run m -- sh -c "$held_up" first.pid
  local first=$!
  eventually test -e "$dir/first.pid" || return 1
  in_background second lock run m -- true
  local second=$!
  eventually waited_for m 1 && locks "r['m']['kind'] == 'mutex' and r['m']['state'] == 'held' and
    r['m']['held_by'][0]['process'].startswith('$first.') and
    r['m']['waited_for_by'][0]['process'].startswith('$second.')" &&
    exits 0 locks && grep -q '^KIND .*HELD BY .*WAITED FOR BY' "$dir/out" &&
    grep -Eq "^mutex +m +held +2 +$first\.[0-9]+@alpha +$second\.[0-9]+@alpha$" "$dir/out" &&
    exits 4 lock run m --timeout 50ms -- true && says "'m'" || return 1
  echo >"$dir/go"
  ends "$first" first && ends "$second" second && held m 0 && waited_for m 0
}
check LocksShowsWhoHoldsAndWhoWaits locks_shows_who_holds_and_who_waits

a_killed_one_frees_the_lock_and_the_next_is_told() {
  in_background first lock run m -- sh -c "$held_up" killed.pid
  local first=$!
  eventually test -e "$dir/killed.pid" || return 1
  in_background second lock run m -- echo mine
  local second=$!
  eventually waited_for m 1 || return 1
  kill -KILL "$first"
  wait "$first"
  ends "$second" second && grep -q '^mine$' "$dir/second.out" &&
    grep -q 'has died with it' "$dir/second.err" || return 1
  gone() { ! kill -0 "$(cat "$dir/killed.pid")"; }
  eventually gone && exits 0 lock run m -- true && ! grep -q died "$dir/err"
}
check AKilledOneFreesTheLockAndTheNextIsTold a_killed_one_frees_the_lock_and_the_next_is_told

a_signal_reaches_the_program() {
  local signal
  for signal in TERM INT HUP USR1; do
    in_background "$signal" lock run m -- bash -c \
      'sleep 1000 & trap "kill $!; echo got '"$signal"'; exit 5" '"$signal"'
       echo $$ >"$dir/$0.tmp"; mv "$dir/$0.tmp" "$dir/$0"; wait' "$signal.pid"
    local run=$!
    eventually test -e "$dir/$signal.pid" || return 1
    kill -"$signal" "$run"
    ends "$run" "$signal"
    (($? == 5)) && grep -q "got $signal" "$dir/$signal.out" || return 1
  done
  held m 0
}
# A shell ignores SIGINT in what it starts in the background, unless it has job control.
set -m
check ASignalReachesTheProgram a_signal_reaches_the_program
set +m

readers_are_together_and_a_writer_alone() {
  in_background one lock run prices --read -- "$mailrail" barrier wait both --parties 2
  local one=$!
  in_background two lock run prices --read -- "$mailrail" barrier wait both --parties 2
  ends $! two && ends "$one" one || return 1
  in_background writer lock run prices --write -- sh -c "$held_up" writer.pid
  local writer=$!
  eventually test -e "$dir/writer.pid" &&
    locks 'r["prices"]["kind"] == "shared-mutex" and r["prices"]["state"] == "held to write"' &&
    exits 4 lock run prices --read --timeout 50ms -- true &&
    exits 4 lock run prices --write --timeout 50ms -- true &&
    exits 0 lock run m -- true || return 1
  echo >"$dir/go"
  ends "$writer" writer && exits 0 lock destroy prices --kind shared-mutex &&
    exits 0 barrier destroy both
}
check ReadersAreTogetherAndAWriterAlone readers_are_together_and_a_writer_alone

# By pairs: each counts when there is a second one, which goes only after that.
no_more_run_than_the_limit_allows() {
  local i runs=()
  for i in {1..6}; do
    "$mailrail" sem run encoders --limit 2 -- sh -c 'mkdir "$dir/slot.$$" &&
      "$mailrail" barrier wait come --parties 2 && ls -d "$dir"/slot.* | wc -l >>"$dir/counts" &&
      "$mailrail" barrier wait counted --parties 2 && rmdir "$dir/slot.$$"' &
    runs+=("$!")
  done
  for i in "${runs[@]}"; do wait "$i" || return 1; done
  cat "$dir/counts"
  diff <(printf '2\n2\n2\n2\n2\n2\n') "$dir/counts" &&
    locks 'r["encoders"]["state"] == "2 of 2 free" and r["encoders"]["kind"] == "semaphore"' &&
    gives 9 sem run encoders --limit 3 -- true && says 'made for 2' &&
    gives 3 sem run encoders --limit 2 -- sh -c 'exit 3'
}
check NoMoreRunThanTheLimitAllows no_more_run_than_the_limit_allows

the_unit_of_a_killed_one_comes_back() {
  in_background unit sem run single --limit 1 -- sh -c "$held_up" unit.pid
  local unit=$!
  eventually test -e "$dir/unit.pid" && exits 4 sem run single --limit 1 --timeout 50ms -- true &&
    exits 0 sem value single && prints $'0\n' && held single 1 || return 1
  kill -KILL "$unit"
  wait "$unit"
  exits 0 sem run single --limit 1 --timeout 20s -- true && exits 0 sem value single &&
    prints $'1\n'
}
check TheUnitOfAKilledOneComesBack the_unit_of_a_killed_one_comes_back

units_are_used_up_and_added() {
  exits 5 sem post full && exits 0 sem create full --units 0 --limit 2 &&
    exits 4 sem wait full --timeout 50ms || return 1
  in_background waits sem wait full
  local waits=$!
  eventually locks 'r["full"]["processes"] == 1' && exits 0 sem post full && ends "$waits" waits &&
    exits 0 sem post full && exits 0 sem post full && exits 8 sem post full && says '2 units' &&
    exits 0 sem value full && prints $'2\n' && exits 0 sem wait full && exits 0 sem value full &&
    prints $'1\n' && exits 0 sem destroy full && exits 5 sem value full
}
check UnitsAreUsedUpAndAdded units_are_used_up_and_added

three_scripts_wait_for_each_other() {
  local i round scripts=()
  for i in 1 2 3; do
    for round in 1 2; do
      echo "$i" >>"$dir/round.$round" && "$mailrail" barrier wait phase --parties 3 &&
        (($(wc -l <"$dir/round.$round") == 3)) && "$mailrail" barrier wait phase || exit 1
    done &
    scripts+=("$!")
  done
  for i in "${scripts[@]}"; do wait "$i" || return 1; done
  exits 4 barrier wait phase --parties 3 --timeout 50ms && gives 9 barrier wait phase --parties 4 &&
    exits 5 barrier wait other && locks 'r["phase"]["state"] == "0 of 3 have come"' &&
    exits 0 barrier destroy phase
}
check ThreeScriptsWaitForEachOther three_scripts_wait_for_each_other

lock_runs_inside_each_other_do_not_wait_for_ever() {
  local ab ba first=0 second=0
  in_background ab lock run a -- sh -c \
    '"$mailrail" barrier wait deadlock --parties 2 && "$mailrail" lock run b -- echo both'
  ab=$!
  in_background ba lock run b -- sh -c \
    '"$mailrail" barrier wait deadlock --parties 2 && "$mailrail" lock run a -- echo both'
  ba=$!
  ends "$ab" ab || first=$?
  ends "$ba" ba || second=$?
  # One gives up, and so the other one gets what it waits for.
  ((first + second == 9 && first * second == 0)) &&
    cat "$dir/ab.err" "$dir/ba.err" >"$dir/err" && says 'this wait would never end' &&
    says "waits for mutex 'a'" && says "waits for mutex 'b'" && (($(wc -l <"$dir/err") == 1)) &&
    [[ $(cat "$dir/ab.out" "$dir/ba.out") == both ]] && held a 0 && held b 0
}
check LockRunsInsideEachOtherDoNotWaitForEver lock_runs_inside_each_other_do_not_wait_for_ever

a_lock_inside_itself_is_refused() {
  gives 9 lock run a -- "$mailrail" lock run a -- true && says 'would never end' &&
    gives 9 lock run a -- "$mailrail" lock run b -- sh -c '"$mailrail" lock run a -- true' &&
    gives 0 lock run a -- "$mailrail" lock run b -- "$mailrail" sem run encoders --limit 2 -- true &&
    gives 9 lock run a -- "$mailrail" lock run a@alpha -- true &&
    gives 9 lock run r --read -- "$mailrail" lock run r --write -- true && says 'shared-mutex' &&
    gives 0 lock run r --read -- "$mailrail" lock run r --read -- true &&
    gives 4 lock run a -- "$mailrail" lock run a --timeout 0 -- true
}
check ALockInsideItselfIsRefused a_lock_inside_itself_is_refused

who_waits_for_what_is_destroyed_fails() {
  in_background first lock run m -- sh -c "$held_up" destroyed.pid
  local first=$!
  eventually test -e "$dir/destroyed.pid" || return 1
  in_background second lock run m -- true
  local second=$!
  eventually waited_for m 1 && exits 0 lock destroy m || return 1
  ends "$second" second
  (($? == 14)) && grep -q destroyed "$dir/second.err" || return 1
  echo >"$dir/go"
  ends "$first" first || return 1
}
check WhoWaitsForWhatIsDestroyedFails who_waits_for_what_is_destroyed_fails

exit "$failed"
