#!/usr/bin/env bash
# Runs every example on three nodes of this machine, as a user would.
#
#   examples_test.sh MAILRAIL     the program whose agents to start
#
# Prints "[case] ok NAME" or "[case] FAILED NAME" for each.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=examples/cluster.sh
source "$here/cluster.sh"

trap 'status=$?; cluster_stop; exit $status' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mailrail=$1
cluster_start "$1" loopback || exit
failed=0

# run NAME: runs the function of that name, which fails when a command in it does.
run() {
  local output=$cluster_folder/$1.out
  (
    set -e
    trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
    "$1"
  ) >"$output" 2>&1
  if (($? == 0)); then
    echo "[case] ok $1"
  else
    sed 's/^/  /' "$output"
    echo "[case] FAILED $1"
    failed=1
  fi
}

# on NODE EXAMPLE ARGUMENT...
on() { (cluster_exec "$1" "$here/$2" "${@:3}"); }

# in_background FILE PATTERN NODE EXAMPLE ARGUMENT...: returns when the example has printed such a
# line into the file.
in_background() {
  local file=$1 pattern=$2
  rm -f "$file"
  cluster_exec "$3" "$here/$4" "${@:5}" >"$file" &
  until grep -qs -- "$pattern" "$file"; do
    kill -0 $! || { cat "$file"; return 1; }
    sleep 0.02
  done
}

# prints PATTERN...: its input has a line for each, in this order. Shows the input.
prints() {
  local text pattern line
  text=$(cat)
  echo "$text"
  for pattern; do
    line=$(grep -n -m 1 -- "$pattern" <<<"$text") || { echo "no line like: $pattern"; return 1; }
    text=$(tail -n "+$((${line%%:*} + 1))" <<<"$text")
  done
}

hello() {
  in_background "$cluster_folder/hello" "also called greeter" alpha hello receive
  on alpha hello send
  wait $!
  prints "@alpha says: hello" <"$cluster_folder/hello"
}

hello_between_nodes() {
  in_background "$cluster_folder/hello" "also called greeter" alpha hello receive
  on beta hello send
  wait $!
  prints "@beta says: hello" <"$cluster_folder/hello"
}

hello_without_agent_says_what_to_do() {
  local status=0
  MAILRAIL_SOCKET=/nowhere/agent.sock "$here/hello" receive >"$cluster_folder/hello" 2>&1 ||
    status=$?
  ((status == 14))
  prints "mailrail agent" <"$cluster_folder/hello"
}

ping_pong() {
  in_background "$cluster_folder/pong" "serving pong" alpha ping_pong serve
  on alpha ping_pong ping pong 2000 | prints "^2000 round trips between .*@alpha and .*@alpha"
  wait $!
}

ping_pong_between_nodes() {
  in_background "$cluster_folder/pong" "serving far" gamma ping_pong serve far
  on beta ping_pong ping far@gamma 500 | prints "^500 round trips between .*@beta and .*@gamma"
  wait $!
}

work_queue() {
  on alpha work_queue |
    prints "@alpha did [0-9]* tasks" "@alpha did" "@alpha did" "all 3000 tasks were done, each once"
}

retries() {
  on alpha retries | sort |
    prints "done: flaky at attempt 2" "done: paint at attempt 1" "done: polish at attempt 1" \
      "given up: crash" "given up: poison"
}

calls() { on alpha calls | prints "^300 requests were answered, by [1-3] workers"; }

priority() {
  on alpha priority |
    prints "^received *24.stop" "^received *10.order 1" "^received *10.order 2" \
      "^received *0.report 1" "^received *0.report 2" "^received *0.report 3" "32 is refused"
}

shared_value() {
  on alpha shared_value | prints "^the last position is 15000, -15000; saw .* of 5000 versions"
}

# Nobody who puts a job, or does it, runs while the others do.
message_queue() {
  local status=0
  on alpha message_queue put "sweep" 1
  on beta message_queue put "put out the fire" 31
  on alpha message_queue put "mop" 1
  until on gamma message_queue show | grep -q "^3 of 100 jobs wait"; do sleep 0.02; done
  on gamma message_queue work |
    prints "^priority 31: put out the fire" "^priority 1: sweep" "^priority 1: mop"
  on alpha message_queue show | prints "^0 of 100 jobs wait"
  on beta message_queue remove
  on alpha message_queue work || status=$?
  ((status == 5))
}

# From one node to another, and what is left of one that does not come whole.
file_copy() {
  local status=0
  head -c 3000000 /dev/urandom >"$cluster_folder/file"
  on alpha file_copy receive backup "$cluster_folder/copy" >"$cluster_folder/file_copy" &
  until (cluster_exec alpha "$mailrail" mailbox stat backup) >/dev/null 2>&1; do sleep 0.02; done
  on beta file_copy send backup "$cluster_folder/file" | prints "^sent 3000000 bytes"
  wait $!
  prints "^received 3000000 bytes" <"$cluster_folder/file_copy"
  cmp "$cluster_folder/file" "$cluster_folder/copy"
  printf '100\ntoo short' | cluster_exec gamma "$mailrail" pipe write backup
  on alpha file_copy receive backup "$cluster_folder/none" || status=$?
  ((status == 15)) && [[ ! -e $cluster_folder/none && ! -e $cluster_folder/none.partial ]]
}

# The last worker of that number that the file tells of.
worker_in() { grep "^worker $2 is " "$1" | tail -n 1 | sed 's/.* is //'; }

supervisor() {
  local file=$cluster_folder/supervisor first second
  in_background "$file" "^worker 1 is" alpha supervisor 2
  local pid=$!
  until [[ -n $(worker_in "$file" 0) ]]; do sleep 0.02; done
  for round in 1 2; do
    first=$(worker_in "$file" 1)
    kill -9 "${first%%.*}"
    until second=$(worker_in "$file" 1) && [[ $second != "$first" ]]; do
      kill -0 "$pid"
      sleep 0.02
    done
  done
  cluster_exec alpha "$mailrail" send supervisor stop &
  wait $! && wait "$pid"
  (($(grep -c "^worker 0 is" "$file") == 1))
  prints "^worker 1 is .*@alpha" "^worker 1 has ended; again in 100ms" "^worker 1 is .*@alpha" \
    "^worker 1 has ended; again in 200ms" "^worker 1 is .*@alpha" <"$file"
}

broadcast() {
  local node follower followers=()
  in_background "$cluster_folder/keeper" "keeps the settings" alpha broadcast keep
  local keeper=$!
  for node in alpha beta gamma; do
    in_background "$cluster_folder/news-$node" "^begins with color=white" "$node" broadcast follow
    followers+=($!)
  done
  (cluster_exec beta "$mailrail" send settings-keeper color=red)
  until grep -q "^change 2: color=red" "$cluster_folder/news-gamma"; do sleep 0.02; done
  in_background "$cluster_folder/late" "^begins with color=red" beta broadcast follow
  followers+=($!)
  (cluster_exec gamma "$mailrail" send settings-keeper color=blue)
  for node in news-alpha news-beta news-gamma late; do
    until grep -q "^change 3: color=blue" "$cluster_folder/$node"; do sleep 0.02; done
  done
  (cluster_exec alpha "$mailrail" send settings-keeper stop)
  wait "$keeper"
  for follower in "${followers[@]}"; do wait "$follower"; done
  for node in news-alpha news-beta news-gamma; do
    prints "^change 2: color=red" "^the keeper has ended" <"$cluster_folder/$node"
  done
  prints "^the keeper has ended" <"$cluster_folder/late"
}

bounded_buffer() {
  on alpha bounded_buffer | prints "^10000 numbers went through 8 places, their sum is 25005000$"
}

# Writers on one node, readers there and on another.
region() {
  local pids=() pid page
  on alpha region visit 0 1
  for node in alpha beta; do
    cluster_exec "$node" "$here/region" read 301 >"$cluster_folder/region_$node" &
    pids+=($!)
  done
  for page in 1 2 3; do
    cluster_exec alpha "$here/region" visit "$page" 100 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  prints "^page 0: 1$" "^page 1: 100$" "^page 3: 100$" "^total: 301$" <"$cluster_folder/region_alpha"
  prints "^page 2: 100$" "^total: 301, by a replica$" <"$cluster_folder/region_beta"
}

configuration() {
  on alpha configuration set "workers 3" "level info" | prints "^published version 1$"
  in_background "$cluster_folder/followed" "^version 1 (replica): workers 3; level info$" beta \
    configuration follow 2
  on alpha configuration set "workers 5" | prints "^published version 2$"
  wait $!
  prints "^version 1" "^version 2 (replica): workers 5$" <"$cluster_folder/followed"
  on alpha configuration follow 1 | prints "^version 2: workers 5$"
}

# That nobody eats with another's fork the example sees to itself.
philosophers() {
  on alpha philosophers |
    prints "^philosopher [0-4] puts his fork down: this wait would never end: .* waits for mutex" \
      "^with mutexes: 500 meals$" "^with a monitor: 500 meals$"
}

zero_copy() {
  on alpha zero_copy | prints "frame 0: 32 MiB" "frame 1:" "frame 2:" "frame 3:" "frame 4:"
}

# count FOLDER...: counts with a worker on each node.
count() {
  local node worker workers=() status=0
  for node in "${cluster_nodes[@]}"; do
    cluster_exec "$node" "$here/word_count/worker" &
    workers+=($!)
  done
  on alpha word_count/coordinator --workers=3 "$@" || status=$?
  # Before the workers have a coordinator, nothing ends them.
  ((status <= 1)) || kill "${workers[@]}"
  for worker in "${workers[@]}"; do wait "$worker" || status=$?; done
  return "$status"
}

word_count() {
  count | prints "MB of text" "^status of worker .* answered in .* ms, with [0-9]* chunks" \
    "^status of worker" "^status of worker" "^node .*worker .*chunks .*MB/s" "^alpha " "^beta " \
    "^gamma " "^all .*3 workers" "^check: equal"
}

# Words that are longer than a chunk or go on in the next file, bytes that are no text, odd names.
word_count_of_odd_text() {
  local folder=$cluster_folder/odd
  mkdir -p "$folder/a b" "$folder/none"
  head -c 300000 /dev/zero | tr '\0' x >"$folder/1 long word"
  printf 'goes on  here\n\n\377 \001 \t\v\f\rend' >"$folder/2"$'\n'"bytes"
  printf ' y\r\n' >"$folder/a b/-3 \"quoted\" 'name'"
  : >"$folder/4 empty"
  printf 'not\0text' >"$folder/5 binary"
  ln -s "$folder" "$folder/6 link"
  seq 200000 >"$folder/7"
  count "$folder" | prints "taken [0-9]* times" "^check: equal"
}

word_count_that_differs_fails() {
  local status=0
  mkdir -p "$cluster_folder/bin" "$cluster_folder/text"
  seq 1000 >"$cluster_folder/text/numbers"
  printf '#!/bin/sh\ncat >/dev/null\necho 1 2 3\n' >"$cluster_folder/bin/wc"
  chmod +x "$cluster_folder/bin/wc"
  PATH=$cluster_folder/bin:$PATH count "$cluster_folder/text" >"$cluster_folder/differs" || status=$?
  ((status == 1))
  prints "^check: DIFFERENT" <"$cluster_folder/differs"
}

switch_together() {
  local node folder=$cluster_folder
  for node in alpha beta gamma; do
    on "$node" switch_together release@alpha 3 60 "touch $folder/new.$node" \
      "ls $folder/new.* | wc -l >$folder/switched.$node" false >"$folder/switch.$node" &
  done
  wait
  for node in alpha beta gamma; do
    prints "^prepared" "^all are prepared" <"$folder/switch.$node"
    [[ $(cat "$folder/switched.$node") == 3 ]]
  done
}

switch_together_or_not_at_all() {
  local node folder=$cluster_folder status=0
  for node in alpha beta; do
    on "$node" switch_together release@alpha 3 1 "touch $folder/new.$node" \
      "touch $folder/bad" "rm $folder/new.$node" >"$folder/switch.$node" &
  done
  on gamma switch_together release@alpha 3 1 false "touch $folder/bad" true || status=$?
  ((status == 1))
  wait
  for node in alpha beta; do
    prints "^prepared" "^not all have come" <"$folder/switch.$node"
    [[ ! -e $folder/new.$node ]]
  done
  [[ ! -e $folder/bad ]]
}

for name in hello hello_between_nodes hello_without_agent_says_what_to_do ping_pong \
  ping_pong_between_nodes work_queue message_queue file_copy retries calls shared_value supervisor broadcast \
  priority bounded_buffer philosophers switch_together switch_together_or_not_at_all region \
  configuration zero_copy word_count word_count_of_odd_text \
  word_count_that_differs_fails; do
  run "$name"
done
exit "$failed"
