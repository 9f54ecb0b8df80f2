#!/usr/bin/env bash
# A flood between two hosts goes on, with nothing lost, doubled or reordered, after the network
# between them was cut for ten seconds.
#
# The hosts are network namespaces, and the cut drops every packet. Without the right to make
# namespaces, the far host's agent and keeper are stopped for as long instead.
set -euo pipefail

mailrail=$PWD/${MAILRAIL:-node/cli/mailrail}
cut_seconds=10
folder=$(mktemp -d /tmp/mailrail-XXXXXX)
# A question must not start an agent.
export MAILRAIL_AUTOSTART=0
suffix=$$
near=mra$suffix
far=mrb$suffix
namespaces=true
agents=()

cleanup() {
  local pid
  for pid in "${agents[@]}"; do kill -CONT "$pid" 2>/dev/null || true; done
  for pid in "${agents[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  ip netns del "$near" 2>/dev/null || true
  ip netns del "$far" 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT

make_namespaces() {
  ip netns add "$near" && ip netns add "$far" &&
    ip link add "v$near" netns "$near" type veth peer name "v$far" netns "$far" &&
    ip -n "$near" addr add 10.77.1.1/24 dev "v$near" &&
    ip -n "$far" addr add 10.77.1.2/24 dev "v$far" &&
    ip -n "$near" link set "v$near" up && ip -n "$far" link set "v$far" up &&
    ip netns exec "$far" iptables -L >/dev/null
}

if make_namespaces 2>/dev/null; then
  in_near=(ip netns exec "$near")
  in_far=(ip netns exec "$far")
  near_address=10.77.1.1:7400
  far_address=10.77.1.2:7400
else
  echo "no network namespaces here: the far agent is stopped instead of the network"
  namespaces=false
  in_near=()
  in_far=()
  # 127.0.0.0/8 is all loopback; no other run has this pid.
  near_address=127.$((suffix >> 16)).$((suffix >> 8 & 255)).$((suffix & 255)):7401
  far_address=${near_address%:*}:7402
fi

"${in_near[@]}" "$mailrail" agent --node near --socket "$folder/near.sock" \
  --listen "$near_address" --peer "far=$far_address" &
agents+=($!)
"${in_far[@]}" "$mailrail" agent --node far --socket "$folder/far.sock" \
  --listen "$far_address" --peer "near=$near_address" &
agents+=($!)
far_keeper=$!

until_true() {
  local tries=0
  until "$@"; do
    ((++tries < 6000)) || { echo "gave up waiting for: $*"; exit 1; }
    sleep 0.01
  done
}
answers() { "$mailrail" ping "$1" --socket "$folder/$2.sock" --timeout 100ms >/dev/null 2>&1; }
until_true answers near near
until_true answers far near
until_true answers near far

far_pids() { echo "$far_keeper" $(cat "/proc/$far_keeper/task/$far_keeper/children"); }
cut() {
  if $namespaces; then
    "${in_far[@]}" iptables -A INPUT -j DROP
    "${in_far[@]}" iptables -A OUTPUT -j DROP
  else
    kill -STOP $(far_pids)
  fi
}
heal() {
  if $namespaces; then
    "${in_far[@]}" iptables -F
  else
    kill -CONT $(far_pids)
  fi
}

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
