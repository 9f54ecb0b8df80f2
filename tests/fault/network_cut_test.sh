#!/usr/bin/env bash
# A flood between two hosts goes on, with nothing lost, doubled or reordered, after the network
# between them was cut for ten seconds.
#
# The hosts are network namespaces, and the cut drops every packet. Without the right to make
# namespaces, the far host's agent and keeper are stopped for as long instead.
set -euo pipefail

mailrail=$PWD/${MAILRAIL:-node/cli/mailrail}
count=300000
cut_seconds=10
folder=$(mktemp -d /tmp/mailrail-XXXXXX)
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
  near_address=127.0.0.1:$((20000 + suffix % 20000))
  far_address=127.0.0.1:$((20001 + suffix % 20000))
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

"$mailrail" mailbox create flood --socket "$folder/far.sock"
"$mailrail" recv flood --count "$count" --socket "$folder/far.sock" >"$folder/received" &
receiver=$!
seq 1 "$count" | "$mailrail" send flood@far --socket "$folder/near.sock" --timeout 120s &
sender=$!
lines() { (($(wc -l <"$folder/received") >= $1)); }
until_true lines 5000
cut
before=$(wc -l <"$folder/received")
# The length of the cut is what is tried here.
sleep "$cut_seconds"
during=$(wc -l <"$folder/received")
heal
wait "$sender"
wait "$receiver"
echo "received $before before the cut, $during at its end, $(wc -l <"$folder/received") in all"
if ((during >= count)); then
  echo "the flood was over before the cut was: nothing was tried"
  echo "[case] FAILED AFloodGoesOnAfterTheNetworkWasCutForTenSeconds"
  exit 1
fi
if cmp "$folder/received" <(seq 1 "$count"); then
  echo "[case] ok AFloodGoesOnAfterTheNetworkWasCutForTenSeconds"
else
  echo "[case] FAILED AFloodGoesOnAfterTheNetworkWasCutForTenSeconds"
  exit 1
fi
