#!/usr/bin/env bash
# Drives the program as people and scripts do: each command, its exit codes, its JSON.
# Usage: cli_test.sh PROGRAM
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

every_command_has_help_with_an_example() {
  local command
  exits 0 --help && grep -q 'Example:' "$dir/out" || return 1
  for command in agent ps nodes links locks mailbox "mailbox create" "mailbox ls" "mailbox stat" \
    "mailbox rm" "mailbox purge" send recv call reply ping watch version bench "bench latency" \
    "bench throughput" "bench fanin" "bench mailbox" "bench wakeup" "bench priority" \
    "bench lock" "bench sem" "bench barrier" "bench remote" "bench serve"; do
    # shellcheck disable=SC2086
    exits 0 $command --help && grep -A1 'Example:' "$dir/out" | grep -q "mailrail ${command%% *}" ||
      return 1
  done
}
check EveryCommandHasHelpWithAnExample every_command_has_help_with_an_example

wrong_arguments_exit_with_3() {
  exits 3 && says 'see mailrail --help' &&
    exits 3 nonsense && says nonsense &&
    exits 3 send && says 'mailrail send --help' &&
    exits 3 send orders hi --priority 32 && says '0 to 31' &&
    exits 3 send orders hi --file x && says file &&
    exits 3 send orders --file "$dir/missing" && says missing &&
    exits 3 recv orders --count 0 &&
    exits 3 recv orders --timeout soon && says duration &&
    exits 3 ps -o xml && says json &&
    exits 3 ps surplus && says surplus &&
    exits 3 mailbox create q --max-message-bytes 4T && says size &&
    exits 3 mailbox create q --capacity 0 &&
    exits 3 mailbox create q --when-full wait &&
    exits 3 mailbox create q --policy mine && says exclusive &&
    exits 3 bench && exits 3 bench latency --size 65M && says '0 to 64M' &&
    exits 3 bench latency --mode sleep && says adaptive &&
    exits 3 bench mailbox --senders 0 && exits 3 bench remote && says -- --to
}
check WrongArgumentsExitWith3 wrong_arguments_exit_with_3

without_agent_exits_with_14() {
  local command
  for command in ps nodes links "mailbox ls" "mailbox create q" "send q hi" "recv q" "ping alpha"; do
    # shellcheck disable=SC2086
    exits 14 $command && says 'start one with: mailrail agent' || return 1
  done
  exits 0 version && grep -q 'no agent' "$dir/out" &&
    exits 0 version -o json && json 'j["agent"] is None' &&
    exits 0 --version
}
check WithoutAgentExitsWith14 without_agent_exits_with_14

start_two_nodes
await_connected

version_tells_the_agents_too() {
  exits 0 version -o json && json 'j["program"] == j["agent"] and re.match("[0-9]+[.]", j["agent"])' &&
    exits 0 version && grep -q "agent .*$dir/alpha.sock" "$dir/out"
}
check VersionTellsTheAgentsToo version_tells_the_agents_too

mailboxes_are_created_listed_and_removed() {
  exits 0 mailbox create orders && exits 6 mailbox create orders && says exists &&
    exits 0 mailbox create small --max-message-bytes 64K --capacity 10 --when-full reject &&
    exits 0 mailbox ls && grep -q '^small .* 64K  *reject  *competing  *-$' "$dir/out" &&
    exits 0 mailbox ls -o json && json '[m["mailbox"] for m in j] == ["orders", "small"]' &&
    exits 0 mailbox stat small -o json &&
    json '(j["max_message_bytes"], j["capacity_messages"]) == (65536, 10)' &&
    exits 0 mailbox stat small && grep -q 'when_full: *reject' "$dir/out" &&
    exits 0 mailbox stat small@alpha && exits 3 mailbox stat small@beta &&
    exits 0 mailbox rm small && exits 5 mailbox stat small && exits 5 mailbox rm small &&
    exits 3 mailbox create 'bad name' && says 'bad mailbox name' &&
    exits 3 mailbox create 4711 && exits 3 mailbox create q --max-message-bytes 1G
}
check MailboxesAreCreatedListedAndRemoved mailboxes_are_created_listed_and_removed

mailboxes_have_the_policy_that_is_asked_for() {
  local policy
  for policy in competing exclusive link; do
    exits 0 mailbox create "$policy" --policy "$policy" &&
      exits 0 mailbox stat "$policy" -o json &&
      json "(j['policy'], j['owner']) == ('$policy', '')" &&
      exits 0 mailbox stat "$policy" && grep -q "policy: *$policy" "$dir/out" &&
      exits 0 mailbox ls && grep -q "^$policy .* $policy  *-\$" "$dir/out" &&
      exits 0 send "$policy" hi && exits 0 recv "$policy" && prints $'hi\n' &&
      exits 0 mailbox rm "$policy" || return 1
  done
}
check MailboxesHaveThePolicyThatIsAskedFor mailboxes_have_the_policy_that_is_asked_for

mailboxes_select_as_they_are_asked_to() {
  local keys="('order', 'hold_order', 'distribution', 'cutoff_ms')"
  exits 0 mailbox create select --order per-sender --hold-order --distribution sticky-by-key \
    --cutoff 5s && exits 0 mailbox stat select -o json &&
    json "[j[k] for k in $keys] == ['per-sender', True, 'sticky-by-key', 5000]" &&
    exits 0 mailbox stat select && grep -q 'distribution: *sticky-by-key' "$dir/out" &&
    exits 0 mailbox ls -o json && json 'any(m["cutoff_ms"] == 5000 for m in j)' &&
    exits 0 send select hi --key 'order 7' && exits 0 recv select -o json &&
    json "(j['body'], j['key']) == ('hi', 'order 7')" &&
    exits 0 mailbox rm select && exits 0 mailbox create select &&
    exits 0 mailbox stat select -o json &&
    json "[j[k] for k in $keys] == ['queue', False, 'least-busy', 30000]" &&
    exits 0 mailbox rm select &&
    exits 3 mailbox create select --order any && says per-sender &&
    exits 3 mailbox create select --distribution any && says sticky-by-key &&
    exits 3 mailbox create select --hold-order --distribution round-robin && says turns &&
    exits 3 mailbox create select --cutoff 1ms && says cutoff
}
check MailboxesSelectAsTheyAreAskedTo mailboxes_select_as_they_are_asked_to

a_third_program_is_refused_on_a_link() {
  local first second
  exits 0 mailbox create pair --policy link || return 1
  "$mailrail" recv pair --follow >/dev/null 2>"$dir/follow.err" &
  first=$!
  pids+=("$first")
  "$mailrail" recv pair --follow >/dev/null 2>"$dir/follow.err" &
  second=$!
  pids+=("$second")
  eventually receivers_of pair 2 && exits 8 recv pair --timeout 1s && says 'is a link' &&
    exits 8 send pair hi && says 'is a link' &&
    exits 8 recv pair --timeout 1s "${beta[@]}" && exits 8 send pair hi "${beta[@]}" || return 1
  kill -KILL "$first"
  wait "$first"
  eventually exits 0 send pair hi "${beta[@]}" || return 1
  kill "$second"
  wait "$second"
  exits 0 mailbox rm pair
}
receivers_of() { exits 0 mailbox stat "$1" -o json && json "j['receivers'] == $2"; }
check AThirdProgramIsRefusedOnALink a_third_program_is_refused_on_a_link

one_message_is_sent_and_received() {
  exits 0 send orders 'hello there' && exits 0 recv orders && prints $'hello there\n' &&
    exits 0 send orders '' && exits 0 recv orders && prints $'\n' &&
    exits 0 send orders@alpha -- '-x' && exits 0 recv orders && prints $'-x\n' &&
    exits 0 mailbox stat orders -o json && json 'j["waiting"] == 0'
}
check OneMessageIsSentAndReceived one_message_is_sent_and_received

files_are_sent_whole() {
  local bytes
  for bytes in 0 32768 32769 70000 5000000; do
    head -c "$bytes" /dev/urandom >"$dir/file"
    exits 0 send orders --file "$dir/file" && exits 0 recv orders || return 1
    cmp <(cat "$dir/file" && echo) "$dir/out" || return 1
  done
  "$mailrail" send orders --file - <"$dir/file" && exits 0 recv orders &&
    cmp <(cat "$dir/file" && echo) "$dir/out"
}
check FilesAreSentWhole files_are_sent_whole

each_line_of_standard_input_is_a_message() {
  seq 5000 | "$mailrail" send orders || return 1
  exits 0 mailbox stat orders -o json && json 'j["waiting"] == 5000' &&
    exits 0 recv orders --count 5000 && cmp <(seq 5000) "$dir/out" || return 1
  printf 'one\n\nthree' | "$mailrail" send orders || return 1
  exits 0 recv orders --count 3 && prints $'one\n\nthree\n' || return 1
  "$mailrail" send orders </dev/null && exits 4 recv orders --timeout 50ms
}
check EachLineOfStandardInputIsAMessage each_line_of_standard_input_is_a_message

higher_priority_is_received_first() {
  exits 0 send orders low && exits 0 send orders high --priority 31 &&
    exits 0 recv orders --count 2 && prints $'high\nlow\n'
}
check HigherPriorityIsReceivedFirst higher_priority_is_received_first

json_tells_all_of_a_message() {
  exits 0 send orders $'"\xc3\xb6\n' --priority 7 && exits 0 recv orders -o json &&
    (($(wc -l <"$dir/out") == 1)) &&
    json 'j["body"] == "\"\u00f6\n" and j["priority"] == 7 and j["sequence"] >= 1' &&
    json 'j["mailbox"] == "orders" and re.fullmatch("[0-9]+[.][0-9]+@alpha", j["sender"])' &&
    python3 -m json.tool <"$dir/out" || return 1
  printf '\xff\x00\x01' >"$dir/file"
  exits 0 send orders --file "$dir/file" && exits 0 recv orders -o json &&
    json 'j["body"] == "/wAB" and j["encoding"] == "base64"'
}
check JsonTellsAllOfAMessage json_tells_all_of_a_message

lists_come_whole_whatever_their_length() {
  local names
  mapfile -t names < <(seq -f 'many-%g' 450)
  exits 0 mailbox create "${names[@]}" --capacity 1 && exits 0 mailbox ls -o json &&
    json 'len({m["mailbox"] for m in j if m["mailbox"].startswith("many-")}) == 450' &&
    exits 0 mailbox rm "${names[@]}" && exits 0 mailbox ls -o json && json 'len(j) == 1'
}
check ListsComeWholeWhateverTheirLength lists_come_whole_whatever_their_length

errors_have_their_own_exit_codes() {
  exits 4 recv orders --timeout 50ms && says 'no message' &&
    exits 5 send nowhere hi && says nowhere &&
    exits 5 recv nowhere && exits 5 send 999999.1@alpha hi && exits 3 send '???' hi &&
    exits 5 mailbox purge nowhere &&
    exits 0 mailbox create fixed --max-message-bytes 4 --fixed-size --capacity 2 \
      --when-full reject &&
    exits 0 send fixed 1234 && exits 3 send fixed 123 && exits 3 send fixed 12345 &&
    exits 0 send fixed 1234 && exits 8 send fixed 1234 && says full &&
    exits 0 mailbox create block --capacity 1 &&
    exits 0 send block 1 && exits 4 send block 2 --timeout 100ms && says room || return 1
  printf '1234\n123\n' | "$mailrail" send fixed --priority 1 2>"$dir/err"
  (($? == 3)) && says 'line 2'
}
check ErrorsHaveTheirOwnExitCodes errors_have_their_own_exit_codes

purge_tells_how_many() {
  seq 7 | "$mailrail" send orders || return 1
  exits 0 mailbox purge orders && prints $'purged 7 messages from orders\n' &&
    exits 0 mailbox purge orders -o json && json 'j["purged"] == 0' &&
    exits 4 recv orders --timeout 50ms
}
check PurgeTellsHowMany purge_tells_how_many

removing_tells_how_many_messages_are_lost() {
  exits 0 mailbox create full empty && seq 3 | "$mailrail" send full || return 1
  exits 0 mailbox rm full && prints $'removed full with 3 messages in it\n' &&
    exits 0 mailbox rm empty -o json && json 'j == {"mailbox": "empty", "purged": 0}' &&
    exits 0 mailbox create far-full "${beta[@]}" && exits 0 send far-full hi "${beta[@]}" &&
    exits 0 mailbox rm far-full && prints $'removed far-full with 1 message in it\n' &&
    exits 5 mailbox rm far-full
}
check RemovingTellsHowManyMessagesAreLost removing_tells_how_many_messages_are_lost

errors_say_what_to_run() {
  exits 5 send nope hi && says 'mailrail ps and mailrail mailbox ls' &&
    exits 5 recv nope && says 'mailrail mailbox ls' &&
    exits 5 recv nope@beta && says 'on node beta; see mailrail mailbox ls there' &&
    exits 5 mailbox rm nope && says 'mailrail mailbox ls' &&
    exits 5 mailbox stat nope && says 'mailrail mailbox ls' &&
    exits 5 ping nobody && says 'mailrail ps' && exits 5 send 99999 hi && says 'mailrail ps' &&
    exits 5 send orders@zeta hi && says "no node 'zeta'.*mailrail nodes" &&
    exits 6 mailbox create orders && says 'mailrail mailbox ls'
}
check ErrorsSayWhatToRun errors_say_what_to_run

a_mailbox_that_begins_with_an_underscore_is_like_any_other() {
  exits 0 mailbox create _dead && exits 0 send _dead one && echo two | "$mailrail" send _dead &&
    exits 0 recv _dead --count 2 && prints $'one\ntwo\n' && exits 0 mailbox rm _dead
}
check AMailboxThatBeginsWithAnUnderscoreIsLikeAnyOther \
  a_mailbox_that_begins_with_an_underscore_is_like_any_other

a_bare_pid_is_a_process_of_this_node() {
  "$mailrail" recv orders --follow >/dev/null &
  local pid=$!
  pids+=("$pid")
  eventually exits 0 ping "$pid" --count 1 && exits 0 send "$pid" hello &&
    exits 5 ping "$pid" "${beta[@]}" && says 'on node beta' && exits 5 send "$pid" hi "${beta[@]}" &&
    exits 0 ping "$pid@alpha" --count 1 "${beta[@]}" || return 1
  kill "$pid"
  wait "$pid"
}
check ABarePidIsAProcessOfThisNode a_bare_pid_is_a_process_of_this_node

sending_lines_to_a_terminal_shows_the_rate() {
  seq 1000 >"$dir/lines"
  script -qec "$mailrail send orders <$dir/lines" /dev/null >"$dir/out" </dev/null || return 1
  cat "$dir/out"
  grep -q '1000 messages, .* messages/s' "$dir/out" && exits 0 mailbox purge orders
}
check SendingLinesToATerminalShowsTheRate sending_lines_to_a_terminal_shows_the_rate

lines_in() { (($(wc -l <"$1") == $2)); }

follow_goes_on_until_sigint() {
  "$mailrail" recv orders --follow >"$dir/follow" 2>"$dir/follow.err" &
  local pid=$! got=0
  pids+=("$pid")
  exits 0 send orders 1 && eventually lines_in "$dir/follow" 1 &&
    exits 0 send orders 2 && exits 0 send orders 3 && eventually lines_in "$dir/follow" 3 &&
    exits 0 ps -o json && json "[p['pid'] for p in j] == [$pid]" &&
    exits 0 ps && grep -q "^$pid\\." "$dir/out" || return 1
  kill -INT "$pid"
  wait "$pid" || got=$?
  cat "$dir/follow.err"
  ((got == 0)) && cmp <(seq 3) "$dir/follow"
}
check FollowGoesOnUntilSigint follow_goes_on_until_sigint

destroyed_mailbox_ends_waiting_commands() {
  local receiver sender got=0
  exits 0 mailbox create doomed --capacity 1 || return 1
  "$mailrail" recv doomed --follow >"$dir/follow" 2>"$dir/err" &
  receiver=$!
  pids+=("$receiver")
  exits 0 send doomed 1 && eventually lines_in "$dir/follow" 1 && exits 0 mailbox rm doomed ||
    return 1
  wait "$receiver" || got=$?
  ((got == 14)) && exits 0 mailbox create doomed --capacity 1 || return 1
  seq 3 | "$mailrail" send doomed 2>"$dir/sender.err" &
  sender=$!
  eventually one_waits_in doomed && exits 0 mailbox rm doomed || return 1
  got=0
  wait "$sender" || got=$?
  cat "$dir/sender.err"
  ((got == 14)) && grep -q 'line 2.*destroyed' "$dir/sender.err"
}
one_waits_in() { exits 0 mailbox stat "$1" -o json && json 'j["waiting"] == 1'; }
check DestroyedMailboxEndsWaitingCommands destroyed_mailbox_ends_waiting_commands

follow_takes_nothing_that_nobody_reads() {
  mkfifo "$dir/fifo"
  "$mailrail" recv orders --follow >"$dir/fifo" 2>"$dir/follow.err" &
  local pid=$! line got=0
  pids+=("$pid")
  exec 7<"$dir/fifo"
  exits 0 send orders first && read -r line <&7 && [[ $line == first ]] || return 1
  exec 7<&-
  wait "$pid" || got=$?
  cat "$dir/follow.err"
  ((got == 0)) && exits 0 send orders second && exits 0 recv orders && prints $'second\n'
}
check FollowTakesNothingThatNobodyReads follow_takes_nothing_that_nobody_reads

ping_asks_nodes_and_processes() {
  exits 0 ping alpha --count 2 && grep -q 'node alpha' "$dir/out" &&
    exits 0 ping beta && grep -q '^4 answers' "$dir/out" &&
    exits 0 ping beta --count 1 -o json && json 'j["answered_by"] == "node beta"' || return 1
  "$mailrail" recv orders --follow >/dev/null &
  local pid=$!
  pids+=("$pid")
  eventually exits 0 ping "$pid" --count 1 && exits 0 ps -o json || return 1
  local id
  id=$(python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["process"])' <"$dir/out")
  exits 0 ping "$id" --count 1 && grep -q "$id" "$dir/out" &&
    exits 0 ping "$id" --count 1 "${beta[@]}" &&
    exits 0 send "$id" hello && exits 0 send "$pid" hello && exits 0 links -o json &&
    json "any('$id' in (link['process'], link['peer']) for link in j)" || return 1
  kill "$pid"
  wait "$pid"
  eventually exits 5 ping "$id" && exits 5 ping nobody
}
check PingAsksNodesAndProcesses ping_asks_nodes_and_processes

# watching COUNT FILE NAMES...: runs `mailrail watch` in the background, until it watches so many.
watching() {
  local count=$1 file=$2
  shift 2
  "$mailrail" watch "$@" >"$file" 2>"$file.err" &
  watch_pid=$!
  pids+=("$watch_pid")
  eventually watches "$watch_pid" "$count"
}
watches() { exits 0 ps -o json && json "any((p['pid'], p['watches']) == ($1, $2) for p in j)"; }

watch_tells_each_end_once() {
  local pid got=0
  "$mailrail" recv orders --follow >/dev/null &
  pid=$!
  pids+=("$pid")
  exits 0 mailbox create near && exits 0 mailbox create far "${beta[@]}" &&
    eventually exits 0 ping "$pid" --count 1 &&
    watching 3 "$dir/watch" near far@beta "$pid" -o json || return 1
  exits 0 mailbox rm near && eventually lines_in "$dir/watch" 1 &&
    exits 0 mailbox rm far && eventually lines_in "$dir/watch" 2 && kill -9 "$pid" || return 1
  wait "$watch_pid" || got=$?
  cat "$dir/watch" "$dir/watch.err"
  ((got == 0)) && jq_like "$dir/watch" '[j["name"], j["kind"], j["reason"]]' \
    "['near', 'mailbox', 'destroyed']" "['far@beta', 'mailbox', 'destroyed']" \
    "['$pid', 'process', 'killed']"
}
# jq_like FILE EXPRESSION VALUE...: what EXPRESSION makes of each line of the file.
jq_like() {
  diff <(printf '%s\n' "${@:3}") \
    <(python3 -c "import json,sys
for line in sys.stdin: j = json.loads(line); print($2)" <"$1")
}
check WatchTellsEachEndOnce watch_tells_each_end_once

watch_prints_text_and_takes_names() {
  local got=0
  exits 0 mailbox create gone && watching 1 "$dir/watch" gone gone@alpha || return 1
  exits 0 mailbox rm gone && wait "$watch_pid" || got=$?
  ((got == 0)) &&
    diff <(printf 'gone: mailbox gone@alpha destroyed\ngone@alpha: mailbox gone@alpha destroyed\n') \
      "$dir/watch"
}
check WatchPrintsTextAndTakesNames watch_prints_text_and_takes_names

watch_has_the_exit_codes_of_all_commands() {
  exits 3 watch && says 'mailrail watch --help' && exits 5 watch nobody && says 'mailrail nodes' &&
    exits 5 watch 99999 && says 'mailrail ps' && exits 5 watch alpha &&
    exits 4 watch beta --timeout 50ms && says 'beta has not ended' &&
    exits 4 watch beta orders --timeout 50ms && says 'and others have not ended'
}
check WatchHasTheExitCodesOfAllCommands watch_has_the_exit_codes_of_all_commands

other_nodes_mailboxes_work_alike() {
  exits 0 mailbox create far "${beta[@]}" && exits 6 mailbox create far &&
    exits 0 send far 'from alpha' && exits 0 recv far "${beta[@]}" --timeout 20s &&
    prints $'from alpha\n' &&
    exits 0 send far@beta 'and back' && exits 0 recv far@beta --timeout 20s &&
    prints $'and back\n' || return 1
  seq 3000 | "$mailrail" send far || return 1
  exits 0 recv far --count 3000 --timeout 20s "${beta[@]}" && cmp <(seq 3000) "$dir/out" &&
    exits 0 links -o json && json 'any(link["peer"] == "far@beta" for link in j)' &&
    exits 0 links && grep -q 'far@beta' "$dir/out" && exits 5 send nowhere@beta hi && exits 0 mailbox rm far
}
check OtherNodesMailboxesWorkAlike other_nodes_mailboxes_work_alike

# benches COUNT ARGUMENTS...: so many results come, and each is of something; how fast is no matter.
benches() {
  local count=$1
  shift
  exits 0 bench "$@" --seconds 20ms -o json && json "len(j['results']) == $count" &&
    json 'all(r["samples"] > 0 for r in j["results"])' &&
    json 'all(r["percentiles"] is None or r["percentiles"]["p50"] > 0 for r in j["results"])' &&
    json 'all(r["rate"] is None or r.get("messages", r.get("operations", 0)) > 0 for r in j["results"])' &&
    json 'len(j["line_ns"]) == 2 and min(j["line_ns"]) > 0 and j["topology"]["processes"]'
}

every_measurement_measures_something() {
  local mode
  for mode in spin adaptive block; do
    benches 1 latency --mode "$mode" && benches 1 throughput --mode "$mode" || return 1
  done
  benches 1 latency --in-place --size 8K && benches 1 throughput --batch 16 --size 3 &&
    benches 1 latency --size 0 && benches 1 throughput --size 0 &&
    benches 1 throughput --in-place --size 100000 && benches 1 fanin --senders 3 &&
    benches 1 mailbox && benches 1 mailbox --senders 2 --receivers 2 --batch 8 &&
    benches 1 mailbox --senders 2 --receivers 2 --order per-sender --batch 8 &&
    benches 1 mailbox --receivers 2 --distribution sticky-by-key --keys 10 &&
    benches 1 mailbox --receivers 2 --distribution round-robin --receive lease &&
    benches 1 mailbox --receivers 2 --hold-order --receive lease --batch 4 &&
    benches 1 mailbox --receivers 2 --policy exclusive && benches 1 mailbox --policy link &&
    benches 1 wakeup && json 'len(j["futex_ns"]) == 2' && benches 2 priority &&
    benches 2 lock && json 'j["results"][1]["unit"] == "operations/s" and "size" not in j' &&
    benches 3 sem && benches 1 barrier && exits 0 bench lock --seconds 20ms &&
    grep -q 'P50 .* OPERATIONS  SAMPLES$' "$dir/out" && exits 3 bench lock --size 1 &&
    exits 0 locks -o json && json 'j == []' &&
    exits 0 bench latency --seconds 20ms && grep -q '^round trip  .* [num]s ' "$dir/out" &&
    exits 0 mailbox ls -o json && json 'not any("bench" in m["mailbox"] for m in j)'
}
check EveryMeasurementMeasuresSomething every_measurement_measures_something

another_node_is_measured() {
  exits 5 bench remote --to beta && says 'mailrail bench serve' || return 1
  "$mailrail" bench serve "${beta[@]}" >"$dir/serve" 2>"$dir/serve.err" &
  local pid=$! got=0
  pids+=("$pid")
  eventually grep -q 'mailrail bench remote --to beta' "$dir/serve" &&
    benches 4 remote --to beta && benches 4 remote --to beta --size 5000 || return 1
  kill -INT "$pid"
  wait "$pid" || got=$?
  cat "$dir/serve.err"
  ((got == 0)) && [[ ! -s $dir/serve.err ]]
}
check AnotherNodeIsMeasured another_node_is_measured

exit "$failed"
