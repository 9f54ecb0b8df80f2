#!/usr/bin/env bash
# Mailrail's main job, from nothing, on this machine: installs the packages that are missing, builds,
# starts three nodes, each in a network namespace of its own, and counts the words of real text with
# workers on all three. Ends with 0 when coreutils count the same.
#
#   examples/quickstart.sh [--loopback] [FOLDER...]
#
#   FOLDER      where the text is; without one, folders in which Debian has some
#   --loopback  ports of the loopback address in place of network namespaces, as without root
#
# Running it again is quick and changes nothing; at its end nothing of it is left running.
set -uo pipefail
script=$(realpath "${BASH_SOURCE[0]}")

mode=
built=
folders=()
while (($# > 0)); do
  argument=$1
  shift
  case $argument in
    -h | --help)
      sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$script"
      exit 0
      ;;
    --loopback) mode=loopback ;;
    --built) # a folder with what was built already: for tests
      built=$1
      shift
      ;;
    -*)
      echo "quickstart: no option $argument; see --help" >&2
      exit 2
      ;;
    *)
      if [[ ! -d $argument ]]; then
        echo "quickstart: no folder $argument" >&2
        exit 2
      fi
      folders+=("$(realpath "$argument")")
      ;;
  esac
done

cd "$(dirname "$script")/.." || exit
# shellcheck source=examples/cluster.sh
source examples/cluster.sh

declare -A running=()
build_log=$(mktemp /tmp/mailrail-build.XXXXXX)
clean_up() {
  local status=$?
  trap '' INT TERM HUP
  ((${#running[@]} == 0)) || kill "${!running[@]}" 2>/dev/null
  cluster_stop 2>/dev/null
  rm -f "$build_log"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# or_tell WHAT COMMAND...: runs it quietly, unless it fails.
or_tell() {
  local what=$1
  shift
  "$@" </dev/null >"$build_log" 2>&1 && return
  cat "$build_log" >&2
  echo "quickstart: $what failed" >&2
  exit 1
}

if [[ -z $built ]]; then
  [[ -x bazel-bin/node/cli/mailrail ]] || first=" (the first time takes some minutes)"
  echo "packages and build${first:-}"
  or_tell "installing packages" deploy/install_deps.sh
  or_tell "building" bazel build --noshow_progress //node/cli:mailrail //examples/...
  built=$(bazel info bazel-bin 2>/dev/null) || exit
fi

cluster_start "$built/node/cli/mailrail" $mode || exit
cluster_describe

programs=$built/examples/word_count
for node in "${cluster_nodes[@]}"; do
  for _ in 1 2; do
    cluster_exec "$node" "$programs/worker" &
    running[$!]="a worker on $node"
  done
done
cluster_exec alpha "$programs/coordinator" --workers=${#running[@]} "${folders[@]}" &
running[$!]="the coordinator"

# Workers end when the coordinator has all it needs.
while ((${#running[@]} > 0)); do
  wait -n -p ended "${!running[@]}"
  status=$?
  name=${running[$ended]}
  unset "running[$ended]"
  if ((status != 0)); then
    echo "quickstart: $name ended with $status" >&2
    exit "$status"
  fi
done
