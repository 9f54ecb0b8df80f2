#!/usr/bin/env bash
# Drives `mailrail queue` as people and scripts do.
# Usage: queue_commands_test.sh PROGRAM
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

every_queue_command_has_help_with_an_example() {
  local command
  for command in queue "queue create" "queue send" "queue receive" "queue attr" "queue unlink"; do
    # shellcheck disable=SC2086
    exits 0 $command --help && grep -A1 'Example:' "$dir/out" | grep -q "mailrail $command" ||
      return 1
  done
}
check EveryQueueCommandHasHelpWithAnExample every_queue_command_has_help_with_an_example

wrong_arguments_exit_with_3() {
  exits 3 queue && says 'mailrail queue --help' && exits 3 queue send &&
    exits 3 queue receive /jobs --count 0 && exits 3 queue send /jobs hi --priority 32 &&
    exits 3 queue receive /jobs --timeout 1s --nonblock && says excludes &&
    exits 3 queue create /jobs --max-messages 0 &&
    exits 14 queue attr /jobs && says 'mailrail agent'
}
check WrongArgumentsExitWith3 wrong_arguments_exit_with_3

start_two_nodes
await_connected

waiting_in() { exits 0 queue attr "$1" -o json && json "j['current_messages'] == $2"; }

queues_are_made_shown_and_unlinked() {
  exits 0 queue create /jobs --max-messages 3 --max-message-bytes 4K &&
    exits 0 queue create jobs && exits 6 queue create /jobs --exclusive && says exists &&
    exits 0 queue attr /jobs && prints "queue:             /jobs
max_messages:      3
max_message_bytes: 4096
current_messages:  0
" && exits 0 queue attr jobs@alpha -o json &&
    json 'j == {"queue": "jobs@alpha", "max_messages": 3, "max_message_bytes": 4096, "current_messages": 0}' &&
    exits 0 mailbox stat jobs && exits 3 queue create /a/b && says 'bad mailbox name' &&
    exits 3 queue create /none --max-message-bytes 0 && says 'at least 1' &&
    exits 0 queue unlink /jobs && exits 5 queue unlink /jobs && exits 5 queue attr /jobs &&
    exits 5 queue send /jobs hi && exits 5 queue receive /jobs
}
check QueuesAreMadeShownAndUnlinked queues_are_made_shown_and_unlinked

what_is_sent_is_received_by_priority() {
  exits 0 queue create /jobs || return 1
  exits 0 queue send /jobs low && exits 0 queue send jobs high --priority 31 &&
    exits 0 queue send /jobs '' && printf 'one\ntwo' | "$mailrail" queue send /jobs --priority 1 --timeout 20s &&
    waiting_in /jobs 5 && exits 0 queue receive /jobs --count 5 &&
    prints $'high\none\ntwo\nlow\n\n' && waiting_in /jobs 0 &&
    exits 0 queue send /jobs 'a job' --priority 7 && exits 0 queue receive /jobs -o json &&
    json 'j["body"] == "a job" and j["priority"] == 7 and j["mailbox"] == "jobs"' &&
    exits 0 queue unlink /jobs
}
check WhatIsSentIsReceivedByPriority what_is_sent_is_received_by_priority

# All that send one message each are one sender to the queue.
a_full_queue_and_an_empty_one_exit_with_4() {
  exits 0 queue create /jobs --max-messages 2 --max-message-bytes 8 &&
    exits 4 queue receive /jobs --nonblock && says 'no message' &&
    exits 4 queue receive /jobs --timeout 50ms &&
    exits 0 queue send /jobs 1 --nonblock && exits 0 queue send /jobs 2 &&
    exits 4 queue send /jobs 3 --nonblock && says room &&
    exits 4 queue send /jobs 3 --timeout 50ms && exits 3 queue send /jobs 123456789 || return 1
  seq 3 5 | "$mailrail" queue send /jobs --nonblock 2>"$dir/err"
  (($? == 4)) && says 'line 3' && exits 0 queue receive /jobs --count 4 &&
    prints $'1\n2\n3\n4\n' && exits 0 queue unlink /jobs
}
check AFullQueueAndAnEmptyOneExitWith4 a_full_queue_and_an_empty_one_exit_with_4

a_script_empties_a_queue() {
  local job
  exits 0 queue create /jobs --max-messages 100 && seq 20 | "$mailrail" queue send /jobs --timeout 20s ||
    return 1
  while job=$("$mailrail" queue receive /jobs --nonblock 2>"$dir/err"); do echo "$job"; done \
    >"$dir/jobs"
  cmp <(seq 20) "$dir/jobs" && says 'no message' && exits 0 queue unlink /jobs
}
check AScriptEmptiesAQueue a_script_empties_a_queue

a_queue_of_another_node_is_used_alike() {
  exits 0 queue create /greeter "${beta[@]}" &&
    exits 0 queue send /greeter hi && eventually waiting_in /greeter 1 &&
    exits 0 queue receive /greeter --timeout 20s && prints $'hi\n' && exits 0 queue unlink /greeter
}
check AQueueOfAnotherNodeIsUsedAlike a_queue_of_another_node_is_used_alike

# Nobody who sends or receives runs all the time, and neither does the agent.
what_was_sent_outlives_its_sender_and_the_agent() {
  exits 0 queue create /jobs --max-messages 50 && seq 20 | "$mailrail" queue send /jobs --timeout 20s &&
    exits 0 queue send /jobs last || return 1
  kill -KILL "$(pgrep -P "$alpha_pid")" && eventually waiting_in /jobs 21 &&
    exits 0 queue receive /jobs --count 21 && cmp <(seq 20 && echo last) "$dir/out" &&
    exits 0 queue unlink /jobs
}
check WhatWasSentOutlivesItsSenderAndTheAgent what_was_sent_outlives_its_sender_and_the_agent

exit "$failed"
