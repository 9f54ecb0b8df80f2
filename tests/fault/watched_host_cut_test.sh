#!/usr/bin/env bash
# Who watches a host, a process and a mailbox there is told that the host is not reached when the
# network between them is cut, and nothing of the others, which live; and when it is healed, of their
# ends. See two_hosts.sh for the hosts and the cut.
set -euo pipefail

# shellcheck source=tests/fault/two_hosts.sh
source "$(dirname "${BASH_SOURCE[0]}")/two_hosts.sh"

# watch FILE NAME: in the background, until it does; its pid is in `watcher`.
watch() {
  "$mailrail" watch "$2" --socket "$folder/near.sock" >"$1" &
  watcher=$!
  until_true watches "$watcher"
}
watches() {
  "$mailrail" ps -o json --socket "$folder/near.sock" |
    python3 -c "import json,sys; sys.exit(not any(p['pid'] == $1 and p['watches'] for p in json.load(sys.stdin)))"
}
failed=0
# says NAME FILE LINE: the case, and what the file has to hold, empty for nothing.
says() {
  if [[ $(<"$2") == "$3" ]]; then
    echo "[case] ok $1"
  else
    echo "[case] FAILED $1: $(<"$2")"
    failed=1
  fi
}

"$mailrail" mailbox create orders --socket "$folder/far.sock"
"$mailrail" recv orders --follow --socket "$folder/far.sock" >"$folder/received" &
process=$!
until_true "$mailrail" ping "$process" --count 1 --socket "$folder/far.sock" >/dev/null
watch "$folder/mailbox" orders@far
mailbox_watcher=$watcher
watch "$folder/process" "$process@far"
process_watcher=$watcher
watch "$folder/node" far
node_watcher=$watcher

cut
wait "$node_watcher"
says AHostThatIsCutOffIsToldAsUnreachable "$folder/node" "far: node far unreachable"
heal
until_true answers far near
# Back, it can be watched again.
watch "$folder/again" far
says WhatLivesOnAHostThatWasCutOffIsNotToldAsEnded <(cat "$folder/mailbox" "$folder/process" "$folder/again") ""
id=$("$mailrail" ps -o json --socket "$folder/far.sock" |
  python3 -c "import json,sys; print([p['process'] for p in json.load(sys.stdin) if p['pid'] == $process][0])")
kill -9 "$process"
"$mailrail" mailbox rm orders --socket "$folder/far.sock"
wait "$mailbox_watcher" "$process_watcher"
says TheEndOfAMailboxIsToldAfterTheCut "$folder/mailbox" "orders@far: mailbox orders@far destroyed"
says TheEndOfAProcessIsToldAfterTheCut "$folder/process" "$process@far: process $id killed"
kill "$watcher"
exit "$failed"
