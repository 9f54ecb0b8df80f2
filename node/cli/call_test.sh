#!/usr/bin/env bash
# Requests and answers from the shell, on one node and between two.
# Usage: call_test.sh PROGRAM
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

start_two_nodes
await_connected || exit 1

# replying ARGUMENTS...: runs `mailrail reply` in the background, until it is there.
replying() {
  "$mailrail" reply "$@" >"$dir/reply" 2>"$dir/reply.err" &
  reply_pid=$!
  pids+=("$reply_pid")
  eventually receivers_of "$1" 1
}
receivers_of() { exits 0 mailbox stat "$1" -o json && json "j['receivers'] == $2"; }
replied() {
  local got=0
  wait "$reply_pid" || got=$?
  cat "$dir/reply.err"
  ((got == 0))
}

a_program_answers_each_request() {
  exits 0 mailbox create upper && replying upper --count 3 -- tr a-z A-Z || return 1
  exits 0 call upper hello && prints $'HELLO\n' &&
    exits 0 call upper@alpha far "${beta[@]}" && prints $'FAR\n' || return 1
  seq 50000 | "$mailrail" call upper >"$dir/out" && diff <(seq 50000; echo) "$dir/out" && replied
}
check AProgramAnswersEachRequest a_program_answers_each_request

the_program_knows_who_asks() {
  # shellcheck disable=SC2016
  replying upper --count 1 -- sh -c 'echo "$MAILRAIL_SENDER $MAILRAIL_ATTEMPT"' || return 1
  exits 0 call upper hello -o json && json 're.match(r"\d+\.\d+@alpha 1\n$", j["body"])' &&
    json '"headers" not in j' && replied
}
check TheProgramKnowsWhoAsks the_program_knows_who_asks

a_program_that_fails_makes_the_call_fail() {
  replying upper --count 1 -- sh -c 'echo half; exit 7' || return 1
  exits 2 call upper hello && prints $'half\n\n' && says 'failed with 7' && replied
}
check AProgramThatFailsMakesTheCallFail a_program_that_fails_makes_the_call_fail

without_anybody_who_answers_that_is_said() {
  eventually receivers_of upper 0 && exits 14 call upper hello --timeout 1m && says 'nobody receives' &&
    exits 5 call nobody hello && replying upper -- sleep 100 || return 1
  exits 4 call upper hello --timeout 200ms && says 'no answer'
}
check WithoutAnybodyWhoAnswersThatIsSaid without_anybody_who_answers_that_is_said

what_a_killed_one_had_another_answers() {
  exits 0 mailbox create once && replying once -- sleep 100 || return 1
  local first=$reply_pid got=0
  "$mailrail" call once again --timeout 20s >"$dir/called" 2>&1 &
  local call_pid=$!
  pids+=("$call_pid")
  eventually leased_in once 1 || return 1
  kill -KILL "$first"
  wait "$first"
  # shellcheck disable=SC2016
  "$mailrail" reply once --count 1 -- sh -c 'cat; echo " $MAILRAIL_ATTEMPT"' || return 1
  wait "$call_pid" || got=$?
  cat "$dir/called"
  ((got == 0)) && grep -q '^again 2$' "$dir/called"
}
leased_in() { exits 0 mailbox stat "$1" -o json && json "j['leased'] == $2"; }
check WhatAKilledOneHadAnotherAnswers what_a_killed_one_had_another_answers

what_cannot_be_run_is_said() {
  exits 3 reply once && says command && exits 3 call && exits 5 reply nowhere -- cat &&
    exits 0 send once 'not a request' && exits 5 reply once -- "$dir/missing" && says missing &&
    exits 0 recv once && prints $'not a request\n'
}
check WhatCannotBeRunIsSaid what_cannot_be_run_is_said

exit "$failed"
