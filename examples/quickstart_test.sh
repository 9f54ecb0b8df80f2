#!/usr/bin/env bash
# Runs quickstart.sh with what was built already: with network namespaces where they can be made,
# and where they cannot.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
folder=$(mktemp -d /tmp/mailrail-XXXXXX)
trap 'rm -rf "$folder"' EXIT
failed=0

# check NAME PATTERN [ARGUMENT...]: quickstart.sh ends well and prints one line about its nodes,
# which is like the pattern.
check() {
  local name=$1 pattern=$2
  shift 2
  if "$here/quickstart.sh" --built "$PWD" "$@" >"$folder/out" 2>&1 &&
    grep '^nodes: ' "$folder/out" >"$folder/nodes" && (($(wc -l <"$folder/nodes") == 1)) &&
    grep -q -- "$pattern" "$folder/nodes" && grep -qx 'check: equal' "$folder/out"; then
    echo "[case] ok $name"
  else
    cat "$folder/out"
    echo "[case] FAILED $name"
    failed=1
  fi
}

# Without the right to make namespaces, `ip` says so.
mkdir "$folder/bin"
printf '#!/bin/sh\necho "RTNETLINK answers: Operation not permitted" >&2\nexit 2\n' >"$folder/bin/ip"
chmod +x "$folder/bin/ip"

# To enter one takes more than to make one: a root folder that is mounted, for instance.
try=mailrail-$$-try
can_use_namespaces() {
  ((EUID == 0)) && ip netns add "$try" && ip netns exec "$try" true
}
namespaces=false
if can_use_namespaces 2>/dev/null; then namespaces=true; fi
ip netns delete "$try" 2>/dev/null

if $namespaces; then
  check CountsWithANamespaceForEachNode '10\.77\.0\.1:7400, .*each in a network namespace of its own'
  PATH=$folder/bin:$PATH check CountsWhereNamespacesAreRefusedAndSaysSo \
    '127\..*in place of network namespaces (RTNETLINK answers: Operation not permitted)'
else
  check CountsWhereNamespacesAreRefusedAndSaysSo '127\..*in place of network namespaces (.*)'
fi
check CountsAtTheLoopbackAddressIfAsked '127\..*in place of network namespaces (as asked)' --loopback
exit "$failed"
