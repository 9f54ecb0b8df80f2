#!/usr/bin/env bash
# What a newcomer does: installs Mailrail, compiles the README's program with the installed headers
# and library, and runs it without having started an agent.
set -euo pipefail
folder=$(mktemp -d /tmp/mailrail-XXXXXX)
export MAILRAIL_SOCKET=$folder/run/agent.sock
trap 'stop_agent; rm -rf "$folder"' EXIT

# Whatever runs for this test's socket, whose path is its own.
agent_pids() {
  local file
  for file in /proc/[0-9]*/cmdline; do
    if grep -qaF -- "$MAILRAIL_SOCKET" "$file" 2>/dev/null; then
      file=${file#/proc/}
      echo "${file%/cmdline}"
    fi
  done
}
stop_agent() {
  local pids
  pids=$(agent_pids)
  [[ -z $pids ]] || kill $pids 2>/dev/null || true
}
passed() { echo "[case] ok $1"; }

"$PWD/deploy/install.sh" --prefix "$folder/usr" --built "$PWD"
export PATH=$folder/usr/bin:$PATH PKG_CONFIG_PATH=$folder/usr/lib/pkgconfig
passed InstallPutsProgramLibraryAndHeadersInPlace

if ldd "$folder/usr/bin/mailrail" | grep -E 'lib(grpc|gpr|protobuf|absl)'; then
  echo "[case] FAILED TheProgramHasItsLibrariesInIt"
  exit 1
fi
passed TheProgramHasItsLibrariesInIt

# Without the comment at its top.
readme=$(sed -n '/^```cpp$/,/^```$/{/^```/!p}' README.md)
if ! diff <(sed '/^\/\//d' examples/hello.cc) - <<<"$readme"; then
  echo "[case] FAILED TheReadmesProgramIsTheExample"
  exit 1
fi
passed TheReadmesProgramIsTheExample

g++ -std=c++20 -Wall -Wextra -Werror examples/hello.cc -o "$folder/hello" \
  $(pkg-config --cflags --libs mailrail)
passed TheInstalledHeadersAndLibraryBuildTheReadmesProgram

mkdir "$folder/run"
if MAILRAIL_AUTOSTART=0 "$folder/hello" receive 2>"$folder/refused"; then
  echo "[case] FAILED WithoutAutostartAMissingAgentIsAnErrorThatSaysWhatToDo"
  exit 1
fi
grep -q "start one with: mailrail agent" "$folder/refused"
passed WithoutAutostartAMissingAgentIsAnErrorThatSaysWhatToDo

"$folder/hello" receive >"$folder/received" &
receiver=$!
until grep -q "also called greeter" "$folder/received"; do sleep 0.01; done
"$folder/hello" send
wait "$receiver"
grep -q "says: hello" "$folder/received"
passed TheFirstAttachStartsAnAgentAndTheMessageArrives

stop_agent
until [[ -z $(agent_pids) ]]; do sleep 0.01; done
mailrail agent --node short --idle-exit 200ms 2>"$folder/log" &
agent=$!
until [[ -S $MAILRAIL_SOCKET ]]; do sleep 0.01; done
"$folder/hello" receive >"$folder/received" &
receiver=$!
until grep -q "also called greeter" "$folder/received"; do sleep 0.01; done
kill -0 "$agent"
"$folder/hello" send
wait "$receiver"
wait "$agent"
passed AnIdleAgentLeavesAfterItsLastProcess
