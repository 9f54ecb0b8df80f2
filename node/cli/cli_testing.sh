# What the tests of the program share; sourced. $1 is the program.
# shellcheck shell=bash
# shellcheck disable=SC2034
set -uo pipefail

mailrail=$(realpath "$1")
dir=$(mktemp -d /tmp/mailrail-cli.XXXXXX)
pids=()
failed=0

cleanup() {
  kill "${pids[@]}" 2>/dev/null
  # Agents in the background are not our children; their sockets are in our folder alone.
  pgrep -f -- "--socket=$dir/" | xargs -r kill 2>/dev/null
  wait
  rm -rf "$dir"
}
trap cleanup EXIT

unset "${!MAILRAIL_@}" XDG_STATE_HOME
export HOME=$dir
export MAILRAIL_AUTOSTART=0 MAILRAIL_SOCKET=$dir/alpha.sock

# check NAME COMMAND...: one case, which passes if the command does.
check() {
  local name=$1
  shift
  if "$@" >"$dir/check.log" 2>&1; then
    echo "[case] ok $name"
  else
    echo "[case] FAILED $name"
    sed 's/^/    /' "$dir/check.log"
    failed=1
  fi
}

# exits CODE ARGUMENTS...: mailrail ends with this code, and writes one line if that is an error.
exits() {
  local want=$1 got=0
  shift
  "$mailrail" "$@" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
  echo "mailrail $*: exit code $got: $(cat "$dir/err")"
  ((got == want)) || return 1
  ((want == 0)) || { (($(wc -l <"$dir/err") == 1)) && grep -q '^mailrail: ' "$dir/err"; }
}
says() { grep -q -- "$1" "$dir/err" || { echo "no '$1' in: $(cat "$dir/err")"; return 1; }; }
prints() { diff <(printf '%s' "$1") "$dir/out"; }
# json EXPRESSION: the output is JSON, and EXPRESSION holds for it (`j`).
json() { python3 -c "import json,re,sys; j=json.load(sys.stdin); assert $1, j" <"$dir/out"; }

# eventually COMMAND...: it succeeds within half a minute.
eventually() {
  local end=$((SECONDS + 30))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { echo "still not: $*"; return 1; }
    sleep 0.05
  done
}

net=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))
beta=(--socket "$dir/beta.sock")

# start_two_nodes: alpha from a file, environment and flags, beta from flags; each dials the other.
start_two_nodes() {
  cat >"$dir/alpha.yaml" <<END
node: not-this
cluster: cli-test
listen: 127.0.0.1:1
peers:
  beta: $net.2:7400
END
  MAILRAIL_NODE=nor-this MAILRAIL_LISTEN=$net.1:7400 \
    "$mailrail" agent --config "$dir/alpha.yaml" --node alpha 2>"$dir/alpha.log" &
  alpha_pid=$!
  "$mailrail" agent --node beta --cluster cli-test --listen "$net.2:7400" \
    --peer "alpha=$net.1:7400" "${beta[@]}" 2>"$dir/beta.log" &
  beta_pid=$!
  pids+=("$alpha_pid" "$beta_pid")
}
connected() { exits 0 nodes "$@" -o json && json 'len(j) == 2 and all(n["connected"] for n in j)'; }
await_connected() { eventually connected && eventually connected "${beta[@]}"; }
