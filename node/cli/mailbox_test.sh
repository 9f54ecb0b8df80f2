#!/usr/bin/env bash
# `mailrail mailbox` beyond create, ls and rm: leases and dead letters, looking, purging, redriving.
# Usage: mailbox_test.sh PROGRAM
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

every_command_has_help_with_an_example() {
  local command
  for command in peek browse redrive; do
    exits 0 mailbox "$command" --help &&
      grep -A1 'Example:' "$dir/out" | grep -q "mailrail mailbox $command" || return 1
  done
}
check EveryCommandHasHelpWithAnExample every_command_has_help_with_an_example

wrong_arguments_exit_with_3() {
  exits 3 mailbox peek && says 'mailbox peek --help' &&
    exits 3 mailbox peek q surplus && says surplus &&
    exits 3 mailbox browse q --limit many && exits 3 mailbox browse q --limit 0 &&
    exits 3 mailbox browse q --body-bytes 33K && says 32K &&
    exits 3 mailbox redrive q --reason bad && says 'neither attempts nor expired' &&
    exits 3 mailbox create q --lease-time 1ms && says 'less than 10 ms' &&
    exits 3 mailbox create q --max-attempts 31 && says 30
}
check WrongArgumentsExitWith3 wrong_arguments_exit_with_3

start_two_nodes
await_connected

# waits_in NAME COUNT [ARGUMENTS...]: so many messages wait in it.
waits_in() { exits 0 mailbox stat "$1" -o json "${@:3}" && json "j['waiting'] == $2"; }

# give_back NAME COUNT: receives so many, and dies before it acknowledges: its output is full.
give_back() {
  local i
  for ((i = 0; i < $2; ++i)); do
    ! "$mailrail" recv "$1" --ack --timeout 10s >/dev/full 2>"$dir/err" || return 1
  done
}

a_mailbox_says_what_it_was_created_with() {
  exits 0 mailbox create failed && exits 0 mailbox create jobs --lease-time 5s --max-attempts 3 \
    --dead-letter failed && exits 0 mailbox stat jobs -o json &&
    json '(j["lease_time_ms"], j["max_attempts"], j["dead_letter"]) == (5000, 3, "failed")' &&
    exits 0 mailbox create forever --lease-time inf && exits 0 mailbox stat forever -o json &&
    json '(j["lease_time_ms"], j["max_attempts"], j["dead_letter"]) == (0, 0, "")' &&
    exits 5 mailbox create q --dead-letter nowhere && says 'create it first' &&
    exits 0 mailbox create pair --policy link && exits 3 mailbox create q --dead-letter pair &&
    says 'is a link' && exits 0 mailbox rm pair forever
}
check AMailboxSaysWhatItWasCreatedWith a_mailbox_says_what_it_was_created_with

a_lease_ends_after_its_time() {
  exits 0 mailbox create short --lease-time 200ms && exits 0 send short hi || return 1
  # A receiver that is stopped while it holds the message: nobody reads what it prints.
  mkfifo "$dir/lease"
  exec 8<>"$dir/lease"
  # A pipe holds 64 KiB: what comes after that waits.
  head -c 65536 /dev/zero >&8
  "$mailrail" recv short --ack >"$dir/lease" 2>"$dir/lease.err" &
  local pid=$!
  pids+=("$pid")
  eventually was_leased short && exits 0 recv short -o json && json '(j["body"], j["redelivered"]) == ("hi", True)' || return 1
  exec 8<&-
  kill "$pid" 2>/dev/null
  wait "$pid"
  exits 0 mailbox rm short
}
was_leased() {
  exits 0 mailbox browse "$1" -o json &&
    json '(j[0]["state"], j[0]["attempts"]) == ("waiting", 1)'
}
leased_in() { exits 0 mailbox stat "$1" -o json && json "j['leased'] == $2"; }
check ALeaseEndsAfterItsTime a_lease_ends_after_its_time

peek_prints_the_next_message_and_leaves_it() {
  exits 0 mailbox create orders && exits 4 mailbox peek orders && says 'no message waits' &&
    exits 5 mailbox peek nowhere && says 'mailrail mailbox ls' &&
    exits 0 send orders low && exits 0 send orders 'two coffees' --priority 9 --header kind=drink \
    --reply-to answers --ttl 1h || return 1
  local i
  for i in 1 2; do
    exits 0 mailbox peek orders && prints $'two coffees\n' || return 1
  done
  exits 0 mailbox peek orders -o json && (($(wc -l <"$dir/out") == 1)) &&
    json '(j["body"], j["body_bytes"], j["priority"], j["attempts"]) == ("two coffees", 11, 9, 0)' &&
    json '(j["state"], j["mailbox"], j["reply_to"]) == ("waiting", "orders", "answers")' &&
    json 'j["headers"] == [{"name": "kind", "value": "drink"}]' &&
    json 're.fullmatch("20..-..-..T..:..:..[.]...Z", j["expires"])' &&
    exits 0 mailbox peek orders@alpha "${beta[@]}" && prints $'two coffees\n' &&
    exits 0 recv orders --count 2 && prints $'two coffees\nlow\n'
}
check PeekPrintsTheNextMessageAndLeavesIt peek_prints_the_next_message_and_leaves_it

browse_lists_in_the_order_of_receive() {
  exits 0 mailbox browse orders && (($(wc -l <"$dir/out") == 1)) &&
    exits 0 mailbox browse orders -o json && json 'j == []' || return 1
  seq 600 | "$mailrail" send orders && exits 0 send orders first --priority 1 || return 1
  exits 0 mailbox browse orders -o json &&
    json '[m["body"] for m in j] == ["first"] + [str(i) for i in range(1, 601)]' &&
    exits 0 mailbox browse orders --limit 300 -o json && json 'len(j) == 300' &&
    exits 0 mailbox browse orders --limit 2 && (($(wc -l <"$dir/out") == 3)) &&
    grep -q '^ *1  *1  .*@alpha  *0  *5  *waiting  *first$' "$dir/out" &&
    exits 0 mailbox browse orders@alpha --limit 1 --body-bytes 2 -o json "${beta[@]}" &&
    json '(j[0]["body"], j[0]["body_bytes"]) == ("fi", 5)' &&
    exits 0 recv orders --count 601 && cmp <(echo first && seq 600) "$dir/out"
}
check BrowseListsInTheOrderOfReceive browse_lists_in_the_order_of_receive

what_is_leased_is_shown_so() {
  exits 0 send orders held || return 1
  mkfifo "$dir/held"
  exec 8<>"$dir/held"
  head -c 65536 /dev/zero >&8
  "$mailrail" recv orders --ack >"$dir/held" 2>"$dir/held.err" &
  local pid=$!
  pids+=("$pid")
  eventually leased_in orders 1 && exits 0 mailbox browse orders -o json &&
    json "j[0]['state'] == 'leased' and j[0]['leased_by'].startswith('$pid.')" &&
    exits 0 mailbox browse orders && grep -q "leased by $pid[.]" "$dir/out" &&
    exits 4 mailbox peek orders || return 1
  kill -KILL "$pid"
  wait "$pid"
  exec 8<&-
  eventually waits_in orders 1 && exits 0 mailbox browse orders -o json &&
    json '(j[0]["state"], j[0]["attempts"]) == ("waiting", 1)' && exits 0 mailbox purge orders
}
check WhatIsLeasedIsShownSo what_is_leased_is_shown_so

dead_letters_are_browsed_and_redriven() {
  exits 0 mailbox create once --max-attempts 1 --dead-letter failed || return 1
  seq 5 | "$mailrail" send once && exits 0 send once late --ttl 1ms || return 1
  give_back once 5 && eventually waits_in failed 6 && exits 0 mailbox browse failed -o json &&
    json 'sorted(m["body"] for m in j) == ["1", "2", "3", "4", "5", "late"]' &&
    json '{m["dead_letter"]["mailbox"] for m in j} == {"once"}' &&
    json '{m["body"] for m in j if m["dead_letter"]["reason"] == "expired"} == {"late"}' &&
    exits 0 mailbox browse failed --from jobs -o json && json 'j == []' &&
    exits 0 mailbox browse failed --from once --limit 4 -o json && json 'len(j) == 4' || return 1
  exits 0 mailbox redrive failed --reason expired -o json &&
    json 'j == {"mailbox": "failed", "moved": 1, "left": 0, "why": ""}' &&
    exits 0 recv once && prints $'late\n' &&
    exits 0 mailbox redrive failed --limit 1 && prints $'moved 1 message from failed\n' &&
    exits 0 recv once -o json && json '(j["body"], j["redelivered"]) == ("1", False)' &&
    json '"dead_letter" not in j' &&
    exits 0 mailbox redrive failed@alpha --to jobs --limit 2 "${beta[@]}" &&
    prints $'moved 2 messages from failed@alpha\n' && exits 0 recv jobs --count 2 &&
    prints $'2\n3\n' && exits 0 mailbox redrive failed && prints $'moved 2 messages from failed\n' &&
    exits 0 recv once --count 2 && prints $'4\n5\n' &&
    exits 0 mailbox redrive failed && prints $'moved 0 messages from failed\n'
}
check DeadLettersAreBrowsedAndRedriven dead_letters_are_browsed_and_redriven

what_cannot_be_redriven_is_told() {
  exits 0 send once lost && give_back once 1 && eventually waits_in failed 1 &&
    exits 0 mailbox rm once && exits 0 mailbox redrive failed &&
    grep -q "^moved 0 messages from failed; 1 left there: .*'once'" "$dir/out" &&
    exits 0 mailbox redrive failed -o json && json '(j["moved"], j["left"]) == (0, 1)' &&
    exits 3 mailbox redrive failed --to failed && says 'same mailbox' &&
    exits 3 mailbox redrive failed --to jobs@beta && says 'stay on their node' &&
    exits 5 mailbox redrive failed --to nowhere && exits 5 mailbox redrive nowhere &&
    waits_in failed 1
}
check WhatCannotBeRedrivenIsTold what_cannot_be_redriven_is_told

purge_drops_what_waits_and_leaves_what_is_leased() {
  exits 0 send orders held || return 1
  mkfifo "$dir/kept"
  exec 8<>"$dir/kept"
  head -c 65536 /dev/zero >&8
  "$mailrail" recv orders --ack >"$dir/kept" 2>"$dir/kept.err" &
  local pid=$! got=0
  pids+=("$pid")
  eventually leased_in orders 1 && seq 3 | "$mailrail" send orders &&
    exits 0 mailbox purge orders && prints $'purged 3 messages from orders\n' &&
    leased_in orders 1 || return 1
  head -c 65536 <&8 >/dev/null
  wait "$pid" || got=$?
  exec 8<&-
  ((got == 0)) && exits 0 mailbox stat orders -o json &&
    json '(j["waiting"], j["leased"]) == (0, 0)'
}
check PurgeDropsWhatWaitsAndLeavesWhatIsLeased purge_drops_what_waits_and_leaves_what_is_leased

receivers_of() { exits 0 mailbox stat "$1" -o json && json "j['receivers'] == $2"; }

a_broadcast_mailbox_is_received_by_all() {
  local readers=() reader
  exits 0 mailbox create news --policy broadcast --when-full drop-oldest &&
    exits 0 mailbox create log --policy broadcast --order log &&
    exits 3 mailbox create q --order log && says 'broadcast' &&
    exits 3 mailbox create q --dead-letter news && exits 0 send news nobody || return 1
  "$mailrail" recv news --count 2 >"$dir/reader1" 2>&1 &
  readers+=($!)
  "$mailrail" recv news --count 2 "${beta[@]}" >"$dir/reader2" 2>&1 &
  readers+=($!)
  pids+=("${readers[@]}")
  eventually receivers_of news 2 && exits 0 send news one &&
    eventually grep -q one "$dir/reader1" && eventually grep -q one "$dir/reader2" &&
    exits 0 mailbox ls && grep -q '^news .* 2 .*drop-oldest  *broadcast  *-$' "$dir/out" &&
    grep -q '^log .* broadcast-log  *-$' "$dir/out" && ! grep -q '^_news' "$dir/out" &&
    exits 0 mailbox stat news -o json &&
    json '(j["waiting"], j["dropped"], len(j["subscriptions"])) == (0, 0, 2)' &&
    json '{s["receiver"].split("@")[1] for s in j["subscriptions"]} == {"alpha", "beta"}' &&
    exits 0 mailbox stat news && grep -q '^RECEIVER .*ITS MAILBOX$' "$dir/out" &&
    grep -q '@beta  .* _news\.[0-9]*$' "$dir/out" && exits 0 send news two "${beta[@]}" || return 1
  for reader in "${readers[@]}"; do wait "$reader" || return 1; done
  diff <(printf 'one\ntwo\n') "$dir/reader1" && diff <(printf 'one\ntwo\n') "$dir/reader2" &&
    eventually receivers_of news 0 && exits 0 mailbox rm news log
}
check ABroadcastMailboxIsReceivedByAll a_broadcast_mailbox_is_received_by_all

exit "$failed"
