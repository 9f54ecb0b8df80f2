# Three nodes of Mailrail on one machine, for quickstart.sh and examples_test.sh, which source this.
#
#   cluster_start PROGRAM [loopback]   starts agents alpha, beta and gamma of PROGRAM (`mailrail`),
#                                      each in a network namespace of its own, or, where that cannot
#                                      be made or with `loopback`, at ports of the loopback address
#   cluster_describe                   says in one line where the nodes are
#   cluster_exec NODE COMMAND...       becomes COMMAND on that node: (cluster_exec beta date)
#   cluster_stop                       ends the agents and removes all that was made
#
# A socket works across network namespaces; so a folder in /tmp has those of all three nodes.

cluster_nodes=(alpha beta gamma)
cluster_folder=
cluster_no_namespaces=   # why not
cluster_namespaces=()
cluster_agents=()
declare -A cluster_address=()

cluster_start() {
  local program=$1 node peer i flags
  cluster_folder=$(mktemp -d /tmp/mailrail.XXXXXX)
  # What the user has set is for another agent.
  unset "${!MAILRAIL_@}"
  export MAILRAIL_AUTOSTART=0

  if [[ ${2:-} == loopback ]]; then
    cluster_no_namespaces="as asked"
  elif ((EUID != 0)); then
    cluster_no_namespaces="this is not root"
  elif ! cluster_make_namespaces 2>"$cluster_folder/ip.log"; then
    cluster_no_namespaces=$(head -n 1 "$cluster_folder/ip.log")
    cluster_remove_namespaces
  fi
  for i in 0 1 2; do
    if [[ -z $cluster_no_namespaces ]]; then
      cluster_address[${cluster_nodes[i]}]=10.77.0.$((i + 1)):7400
    else
      # 127.0.0.0/8 is all loopback; no other run has this pid.
      cluster_address[${cluster_nodes[i]}]=127.$(($$ >> 16)).$(($$ >> 8 & 255)).$(($$ & 255)):$((7401 + i))
    fi
  done

  for node in "${cluster_nodes[@]}"; do
    flags=(--node "$node" --socket "$cluster_folder/$node.sock" --listen "${cluster_address[$node]}")
    for peer in "${cluster_nodes[@]}"; do
      [[ $peer == "$node" ]] || flags+=(--peer "$peer=${cluster_address[$peer]}")
    done
    cluster_exec "$node" "$program" agent "${flags[@]}" </dev/null >"$cluster_folder/$node.log" 2>&1 &
    cluster_agents+=($!)
  done
  for i in 0 1 2; do
    node=${cluster_nodes[i]}
    until [[ -S $cluster_folder/$node.sock ]]; do
      if ! kill -0 "${cluster_agents[i]}" 2>/dev/null; then
        echo "the agent of $node did not start:" >&2
        cat "$cluster_folder/$node.log" >&2
        return 1
      fi
      sleep 0.02
    done
  done
}

cluster_describe() {
  local node list=
  for node in "${cluster_nodes[@]}"; do list+=", $node ${cluster_address[$node]}"; done
  if [[ -z $cluster_no_namespaces ]]; then
    echo "nodes: ${list#, }, each in a network namespace of its own"
  else
    echo "nodes: ${list#, }; ports of the loopback address in place of network namespaces" \
      "($cluster_no_namespaces)"
  fi
}

cluster_exec() {
  local node=$1
  shift
  export MAILRAIL_SOCKET=$cluster_folder/$node.sock
  [[ -n $cluster_no_namespaces ]] || set -- ip netns exec "mailrail-$$-$node" "$@"
  exec "$@"
}

cluster_stop() {
  local pid
  for pid in "${cluster_agents[@]}"; do kill "$pid" 2>/dev/null; done
  for pid in "${cluster_agents[@]}"; do wait "$pid"; done
  cluster_agents=()
  cluster_remove_namespaces
  [[ -z $cluster_folder ]] || rm -rf "$cluster_folder"
  cluster_folder=
}

# A namespace with a bridge, which stands for the network's switch, and one for each node, plugged
# into it. Nothing is added to the host's own namespace, so no address can clash.
cluster_make_namespaces() {
  local switch=mailrail-$$-switch i name
  cluster_add_namespace "$switch" &&
    ip -n "$switch" link add bridge type bridge &&
    ip -n "$switch" link set bridge up || return
  for i in 0 1 2; do
    name=mailrail-$$-${cluster_nodes[i]}
    cluster_add_namespace "$name" &&
      ip -n "$switch" link add "port$i" type veth peer name eth0 netns "$name" &&
      ip -n "$switch" link set "port$i" master bridge up &&
      ip -n "$name" address add "10.77.0.$((i + 1))/24" dev eth0 &&
      ip -n "$name" link set eth0 up || return
  done
}

cluster_add_namespace() {
  ip netns add "$1" || return
  cluster_namespaces+=("$1")
  ip -n "$1" link set lo up
}

cluster_remove_namespaces() {
  local name
  for name in "${cluster_namespaces[@]}"; do ip netns delete "$name" 2>/dev/null; done
  cluster_namespaces=()
}
