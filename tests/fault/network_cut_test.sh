#!/usr/bin/env bash
# A flood between two hosts goes on, with nothing lost, doubled or reordered, after the network
# between them was cut for ten seconds.
#
# See two_hosts.sh for the hosts and the cut.
set -euo pipefail

# shellcheck source=tests/fault/two_hosts.sh
source "$(dirname "${BASH_SOURCE[0]}")/two_hosts.sh"
cut_seconds=10

# Numbers, one a line, until some time after the cut is over.
numbers() {
  local last=0 more=5
  while ((more > 0)); do
    seq $((last + 1)) $((last += 10000))
    [[ ! -e $folder/healed ]] || more=$((more - 1))
  done
  echo "$last" >"$folder/last"
}

touch "$folder/received"
"$mailrail" mailbox create flood --socket "$folder/far.sock"
"$mailrail" recv flood --follow --socket "$folder/far.sock" >"$folder/received" &
receiver=$!
numbers | "$mailrail" send flood@far --socket "$folder/near.sock" --timeout 120s &
sender=$!
lines() { (($(wc -l <"$folder/received") >= $1)); }
until_true lines 5000
cut
before=$(wc -l <"$folder/received")
# The length of the cut is what is tried here.
sleep "$cut_seconds"
during=$(wc -l <"$folder/received")
touch "$folder/healed"
heal
wait "$sender"
last=$(<"$folder/last")
until_true lines "$last"
kill "$receiver"
wait "$receiver" || true
echo "received $before before the cut, $during at its end, $(wc -l <"$folder/received") in all"
name=AFloodGoesOnAfterTheNetworkWasCutForTenSeconds
$namespaces || name=AFloodGoesOnAfterTheFarAgentWasStoppedForTenSeconds
if cmp "$folder/received" <(seq 1 "$last"); then
  echo "[case] ok $name"
else
  echo "[case] FAILED $name"
  exit 1
fi
