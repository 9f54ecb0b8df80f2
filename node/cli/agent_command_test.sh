#!/usr/bin/env bash
# Drives the agent as people and scripts do: its configuration, its start, its end, the background.
# Usage: agent_command_test.sh PROGRAM
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

configuration_errors_come_before_the_agent() {
  printf 'node: alpha\nlissten: 127.0.0.1:1\n' >"$dir/bad.yaml"
  exits 3 agent --config "$dir/bad.yaml" && says "bad.yaml:2: unknown key 'lissten'" || return 1
  printf 'node: alpha\npeers: [beta]\n' >"$dir/bad.yaml"
  exits 3 agent --config "$dir/bad.yaml" && says 'bad.yaml:2: ' &&
    exits 3 agent --config "$dir/missing.yaml" && says missing.yaml &&
    exits 3 agent --node 'two words' && says -- --node &&
    exits 3 agent --peer beta && says -- --peer &&
    exits 3 agent --background --idle-exit soon || return 1
  MAILRAIL_LISTEN=nowhere exits 3 agent && says MAILRAIL_LISTEN
}
check ConfigurationErrorsComeBeforeTheAgent configuration_errors_come_before_the_agent

start_two_nodes

agents_start_and_connect() {
  await_connected &&
    exits 0 nodes -o json && json '[n["node"] for n in j if n["self"]] == ["alpha"]' &&
    exits 0 nodes && grep -q '^beta .* connected' "$dir/out"
}
check AgentsStartAndConnect agents_start_and_connect

second_agent_on_one_socket_exits_with_9() {
  exits 9 agent --node gamma --background && says alpha || return 1
  "$mailrail" agent --node gamma >/dev/null 2>"$dir/err"
  local got=$?
  cat "$dir/err"
  ((got == 9)) && says 'another agent'
}
check SecondAgentOnOneSocketExitsWith9 second_agent_on_one_socket_exits_with_9

message_outlives_the_agent_proper() {
  exits 0 mailbox create orders && exits 0 send orders survivor || return 1
  local proper
  proper=$(pgrep -P "$alpha_pid") && kill -KILL "$proper" || return 1
  exits 0 recv orders --timeout 20s && prints $'survivor\n' && exits 0 nodes
}
check MessageOutlivesTheAgentProper message_outlives_the_agent_proper

nodes_tells_why_a_peer_is_refused() {
  local socket=(--socket "$dir/other.sock")
  "$mailrail" agent --node other --cluster another --listen "$net.3:7400" \
    --peer "alpha=$net.1:7400" "${socket[@]}" 2>"$dir/other.log" &
  local pid=$!
  pids+=("$pid")
  eventually refused_by_cluster "${socket[@]}" && exits 0 nodes "${socket[@]}" &&
    grep -q '^alpha .*cluster' "$dir/out" || return 1
  kill "$pid"
  wait "$pid"
}
refused_by_cluster() {
  exits 0 nodes "$@" -o json && json 'any("cluster" in (n["error"] or "") for n in j)'
}
check NodesTellsWhyAPeerIsRefused nodes_tells_why_a_peer_is_refused

sigterm_carries_what_was_sent_before() {
  exits 0 mailbox create drain || return 1
  seq 10000 | "$mailrail" send drain "${beta[@]}" || return 1
  kill -TERM "$beta_pid"
  exits 0 recv drain --count 10000 --timeout 20s && cmp <(seq 10000) "$dir/out"
}
check SigtermCarriesWhatWasSentBefore sigterm_carries_what_was_sent_before

sigterm_ends_the_agent_with_0() {
  local got=0
  wait "$beta_pid" || got=$?
  cat "$dir/beta.log"
  ((got == 0)) && exits 14 nodes "${beta[@]}" && [[ ! -e $dir/beta.sock && ! -e $dir/beta.sock.lock ]]
}
check SigtermEndsTheAgentWith0 sigterm_ends_the_agent_with_0

background_agent_answers_when_the_call_returns() {
  local socket=(--socket "$dir/back.sock")
  export XDG_STATE_HOME=$dir/state MAILRAIL_IDLE_EXIT=2s
  exits 0 agent --background --node back "${socket[@]}" &&
    exits 0 mailbox create orders "${socket[@]}" || return 1
  # Somebody who is attached keeps it from leaving.
  "$mailrail" recv orders --follow "${socket[@]}" >/dev/null &
  local pid=$!
  pids+=("$pid")
  eventually one_process "${socket[@]}" &&
    exits 0 nodes "${socket[@]}" -o json && json 'j[0]["node"] == "back"' &&
    grep -q listening "$dir/state/mailrail/agent.log" &&
    exits 0 agent --background --node back "${socket[@]}" &&
    exits 9 agent --background --node other "${socket[@]}" && says back || return 1
  kill "$pid"
  unset XDG_STATE_HOME MAILRAIL_IDLE_EXIT
  eventually exits 14 nodes "${socket[@]}"
}
# Called until it passes.
one_process() { exits 0 ps "$@" -o json && json 'len(j) == 1'; }
check BackgroundAgentAnswersWhenTheCallReturns background_agent_answers_when_the_call_returns

background_agent_that_cannot_start_says_so() {
  : >"$dir/plain"
  exits 5 agent --background --node back --socket "$dir/none/such/a.sock" && says 'none/such' &&
    exits 9 agent --background --node back --socket "$dir/plain" && says plain &&
    exits 9 agent --background --node back --socket "$dir/back.sock" --listen "$net.1:7400" &&
    says "cannot listen on $net.1:7400" || return 1
  "$mailrail" agent --node back --socket "$dir/back.sock" --listen "$net.1:7400" 2>"$dir/err"
  local got=$?
  cat "$dir/err"
  ((got == 9)) && (($(wc -l <"$dir/err") == 1)) && says "cannot listen on $net.1:7400"
}
check BackgroundAgentThatCannotStartSaysSo background_agent_that_cannot_start_says_so

a_command_that_cannot_start_an_agent_says_why_in_one_line() {
  MAILRAIL_AUTOSTART=1 exits 14 ps --socket "$dir/none/such/a.sock" && says "none/such" &&
    (($(wc -l <"$dir/err") == 1))
}
check ACommandThatCannotStartAnAgentSaysWhyInOneLine \
  a_command_that_cannot_start_an_agent_says_why_in_one_line

commands_start_an_agent() {
  local socket=(--socket "$dir/auto.sock")
  export MAILRAIL_AUTOSTART=1 MAILRAIL_IDLE_EXIT=300ms
  exits 0 mailbox create orders "${socket[@]}" && exits 0 send orders hi "${socket[@]}" &&
    exits 0 recv orders "${socket[@]}" && prints $'hi\n' || return 1
  export MAILRAIL_AUTOSTART=0
  unset MAILRAIL_IDLE_EXIT
  eventually exits 14 ps "${socket[@]}"
}
check CommandsStartAnAgent commands_start_an_agent

many_commands_at_once_start_one_agent() {
  local socket=(--socket "$dir/many.sock") i got=0 starts=()
  export MAILRAIL_AUTOSTART=1 MAILRAIL_IDLE_EXIT=2s
  for i in 1 2 3 4 5; do
    "$mailrail" mailbox create "m$i" "${socket[@]}" &
    starts+=($!)
  done
  for i in "${starts[@]}"; do wait "$i" || got=$?; done
  export MAILRAIL_AUTOSTART=0
  unset MAILRAIL_IDLE_EXIT
  ((got == 0)) && exits 0 mailbox ls "${socket[@]}" -o json && json 'len(j) == 5'
}
check ManyCommandsAtOnceStartOneAgent many_commands_at_once_start_one_agent

exit "$failed"
