#!/usr/bin/env bash
# Drives `mailrail pipe` and `mailrail fifo` as people and scripts do.
# Usage: pipe_commands_test.sh PROGRAM
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

every_command_has_help_with_an_example() {
  local command
  for command in pipe "pipe read" "pipe write" "pipe destroy" fifo "fifo create" "fifo open" "fifo destroy"; do
    # shellcheck disable=SC2086
    exits 0 $command --help && grep -A1 'Example:' "$dir/out" | grep -q "mailrail $command" ||
      return 1
  done
}
check EveryCommandHasHelpWithAnExample every_command_has_help_with_an_example

wrong_arguments_exit_with_3() {
  exits 3 pipe && says 'mailrail pipe --help' && exits 3 pipe read && exits 3 fifo create && exits 14 pipe read log && says 'mailrail agent'
}
check WrongArgumentsExitWith3 wrong_arguments_exit_with_3

start_two_nodes
await_connected
beta="--socket=$dir/beta.sock"

what_is_written_is_read_until_the_last_writer_has_left() {
  printf 'one\ntwo\n' | "$mailrail" pipe write log || return 1
  exits 0 pipe read log && prints 'one
two
' && exits 0 pipe destroy log && exits 5 pipe read log --no-create && says log
}
check WhatIsWrittenIsReadUntilTheLastWriterHasLeft \
  what_is_written_is_read_until_the_last_writer_has_left

a_file_goes_through_a_pipe_between_two_nodes() {
  head -c 20000000 /dev/urandom >"$dir/file"
  "$mailrail" pipe read backup >"$dir/copy" &
  local reader=$!
  eventually exits 0 mailbox stat backup || return 1
  "$mailrail" pipe write backup@alpha "$beta" <"$dir/file" || return 1
  wait "$reader" && cmp "$dir/file" "$dir/copy"
}
check AFileGoesThroughAPipeBetweenTwoNodes a_file_goes_through_a_pipe_between_two_nodes

a_writer_is_told_that_nobody_reads_any_more() {
  mkfifo "$dir/out.fifo"
  "$mailrail" pipe read endless >"$dir/out.fifo" 2>/dev/null &
  local reader=$!
  # Its reader ends after a line; the command ends when it cannot write.
  head -n 1 "$dir/out.fifo" >/dev/null &
  local got=0
  yes | "$mailrail" pipe write endless 2>"$dir/err" || got=$?
  wait "$reader"
  ((got == 14)) && says broken
}
check AWriterIsToldThatNobodyReadsAnyMore a_writer_is_told_that_nobody_reads_any_more

a_mailbox_is_no_pipe() {
  exits 0 mailbox create box && exits 9 pipe read box && says 'no pipe' &&
    exits 9 pipe destroy box && exits 0 mailbox stat box &&
    exits 3 pipe write a/b && says 'bad mailbox name'
}
check AMailboxIsNoPipe a_mailbox_is_no_pipe

a_fifo_goes_both_ways_between_two_nodes() {
  exits 5 fifo open chat || return 1
  printf 'ping\n' | "$mailrail" fifo create chat >"$dir/first" &
  local first=$!
  eventually exits 0 mailbox stat chat.2 || return 1
  printf 'pong\n' | "$mailrail" fifo open chat "$beta" >"$dir/second" || return 1
  wait "$first" && [[ $(cat "$dir/first") == pong && $(cat "$dir/second") == ping ]] &&
    exits 0 fifo destroy chat && exits 5 fifo destroy chat
}
what_one_end_has_written_waits_for_the_other() {
  # More than its reader takes before it is there, from one that is gone by then.
  head -c 1000000 /dev/urandom >"$dir/file"
  "$mailrail" fifo create box2 <"$dir/file" >"$dir/first" &
  local first=$!
  eventually exits 0 mailbox stat box2.2 || return 1
  "$mailrail" fifo open box2 "$beta" </dev/null >"$dir/second" || return 1
  wait "$first" && cmp "$dir/file" "$dir/second"
}
check WhatOneEndHasWrittenWaitsForTheOther what_one_end_has_written_waits_for_the_other
check AFifoGoesBothWaysBetweenTwoNodes a_fifo_goes_both_ways_between_two_nodes

exit "$failed"
