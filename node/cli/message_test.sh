#!/usr/bin/env bash
# What messages are sent with, and how they are received: headers, times to live, acknowledgements.
# Usage: message_test.sh PROGRAM
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

wrong_arguments_exit_with_3() {
  exits 3 send q hi --header novalue && says NAME=VALUE && exits 3 send q hi --header =x &&
    exits 3 send q hi --ttl soon && says duration
}
check WrongArgumentsExitWith3 wrong_arguments_exit_with_3

start_two_nodes
await_connected
"$mailrail" mailbox create orders dead && "$mailrail" mailbox create far "${beta[@]}" || exit 1

counts() { exits 0 mailbox stat "$1" -o json && json "(j['waiting'], j['leased']) == ($2, $3)"; }

headers_and_reply_to_come_with_the_message() {
  local mailbox file
  for mailbox in orders far; do
    exits 0 send "$mailbox" hi --header kind=test --header 'empty=' --header 'a=b=c' \
      --reply-to answers && exits 0 recv "$mailbox" -o json --timeout 20s &&
      json 'j["headers"] == [{"name": "kind", "value": "test"}, {"name": "empty", "value": ""},
        {"name": "a", "value": "b=c"}]' && json 'j["reply_to"] == "answers"' || return 1
  done
  exits 0 send orders plain && exits 0 recv orders -o json &&
    json '"headers" not in j and "reply_to" not in j' || return 1
  file=$dir/body
  head -c 100000 /dev/zero | tr '\0' x >"$file"
  exits 0 send orders --file "$file" --header name=file && exits 0 recv orders -o json &&
    json 'len(j["body"]) == 100000 and j["headers"][0]["value"] == "file"' || return 1
  printf '1\n2\n' | "$mailrail" send orders --header of=lines && exits 0 recv orders -o json &&
    json '(j["body"], j["headers"][0]["value"]) == ("1", "lines")' && exits 0 recv orders -o json &&
    json '(j["body"], j["headers"][0]["value"]) == ("2", "lines")' &&
    exits 3 send orders hi --header "large=$(head -c 5000 /dev/zero | tr '\0' x)" && says headers
}
check HeadersAndReplyToComeWithTheMessage headers_and_reply_to_come_with_the_message

what_has_lived_its_time_is_received_by_nobody() {
  exits 0 mailbox create timed --dead-letter dead && exits 0 send timed late --ttl 1ms &&
    exits 0 send timed kept --ttl 1h && eventually counts dead 1 0 &&
    exits 0 recv timed --count 1 && prints $'kept\n' && exits 4 recv timed --timeout 50ms &&
    exits 0 recv dead -o json && json 'j["body"] == "late"' &&
    json 'j["dead_letter"] == {"reason": "expired", "mailbox": "timed"}' || return 1
  printf '1\n2\n' | "$mailrail" send timed --ttl 1ms && eventually counts dead 2 0 &&
    exits 0 recv dead --count 2 && prints $'1\n2\n'
}
check WhatHasLivedItsTimeIsReceivedByNobody what_has_lived_its_time_is_received_by_nobody

a_receipt_says_what_became_of_a_message() {
  local mailbox receiver
  exits 4 send orders unread --receipt 50ms && exits 0 recv orders || return 1
  for mailbox in orders far; do
    "$mailrail" recv "$mailbox" --timeout 20s >"$dir/received" &
    receiver=$!
    exits 0 send "$mailbox" hi --receipt 20s && grep -Eq '^received by [0-9.]+@alpha$' "$dir/out" &&
      wait "$receiver" && grep -qx hi "$dir/received" || return 1
  done
  exits 14 send timed late --ttl 1ms --receipt 20s && prints $'expired, now in dead\n' &&
    says 'not received: 1' && exits 0 recv dead && prints $'late\n' &&
    exits 3 send orders hi --receipt soon && says duration
}
check AReceiptSaysWhatBecameOfAMessage a_receipt_says_what_became_of_a_message

an_acknowledged_message_is_gone() {
  local mailbox
  seq 3 | "$mailrail" send orders && exits 0 recv orders --ack --count 3 && prints $'1\n2\n3\n' &&
    counts orders 0 0 || return 1
  seq 3 | "$mailrail" send far && exits 0 recv far --ack --count 3 --timeout 20s &&
    prints $'1\n2\n3\n' && eventually exits 0 mailbox stat far -o json "${beta[@]}" &&
    json 'j["waiting"] == 0'
}
check AnAcknowledgedMessageIsGone an_acknowledged_message_is_gone

what_could_not_be_printed_goes_back() {
  exits 0 send orders precious || return 1
  ! "$mailrail" recv orders --ack >/dev/full 2>"$dir/err" && says 'standard output' &&
    exits 0 recv orders -o json &&
    json '(j["body"], j["redelivered"], j["attempts"]) == ("precious", True, 1)' || return 1
  # Without it, it is gone.
  exits 0 send orders lost || return 1
  ! "$mailrail" recv orders >/dev/full 2>"$dir/err" && exits 4 recv orders --timeout 50ms
}
check WhatCouldNotBePrintedGoesBack what_could_not_be_printed_goes_back

what_its_receivers_fail_with_too_often_is_a_dead_letter() {
  local i
  exits 0 mailbox create tried --max-attempts 2 --dead-letter dead && exits 0 send tried bad &&
    exits 0 send tried good || return 1
  for i in 1 2; do
    ! "$mailrail" recv tried --ack >/dev/full 2>"$dir/err" || return 1
  done
  exits 0 recv tried --ack && prints $'good\n' && eventually counts dead 1 0 &&
    exits 0 recv dead -o json && json 'j["dead_letter"] == {"reason": "attempts", "mailbox": "tried"}' &&
    exits 0 mailbox stat tried -o json && json 'j["dead_letters"] == 1'
}
check WhatItsReceiversFailWithTooOftenIsADeadLetter \
  what_its_receivers_fail_with_too_often_is_a_dead_letter

follow_acknowledges_each_message() {
  "$mailrail" recv orders --ack --follow >"$dir/follow" 2>"$dir/follow.err" &
  local pid=$! got=0
  pids+=("$pid")
  seq 3 | "$mailrail" send orders && eventually lines_in "$dir/follow" 3 &&
    cmp <(seq 3) "$dir/follow" && eventually counts orders 0 0 || return 1
  kill -INT "$pid"
  wait "$pid" || got=$?
  ((got == 0))
}
lines_in() { (($(wc -l <"$1") == $2)); }
check FollowAcknowledgesEachMessage follow_acknowledges_each_message

ps_tells_what_came_too_late() {
  "$mailrail" recv orders --follow >/dev/null &
  local pid=$!
  pids+=("$pid")
  eventually exits 0 ping "$pid" --count 1 && exits 0 ps -o json &&
    json "[(p['dropped'], p['expired']) for p in j] == [(0, 0)]" && exits 0 ps &&
    grep -q 'DROPPED *EXPIRED' "$dir/out" && grep -q "^$pid[.].*  0  *0  " "$dir/out" || return 1
  kill "$pid"
  wait "$pid"
}
check PsTellsWhatCameTooLate ps_tells_what_came_too_late

exit "$failed"
