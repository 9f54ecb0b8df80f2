# shellcheck shell=bash
# Two hosts, near and far, for tests that source this: network namespaces with an agent each, and a
# network between them that `cut` cuts, by dropping every packet, and `heal` heals. Without the right
# to make namespaces, the far host's agent and keeper are stopped instead, and `namespaces` is false.

mailrail=$PWD/${MAILRAIL:-node/cli/mailrail}
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
