#!/usr/bin/env bash
# Builds everything, runs the tests, and counts test cases (not test binaries).
#
#   tests/run.sh [--sanitizers] [--kill] [--fuzz [SECONDS]] [--soak SECONDS] [PATTERN...]
#
#   PATTERN       Bazel target patterns; without one, //...
#   --sanitizers  then runs the patterns (without one, //core/...) with AddressSanitizer and
#                 UndefinedBehaviorSanitizer, and again with ThreadSanitizer
#   --kill        then kills and stops processes at each of their steps (tests/kill), kills them
#                 after each instruction of the innermost calls (tests/instruction), and prints how
#                 many there were; and sees that the tests find built-in bugs (tests/bugs)
#   --fuzz        then hands arbitrary memory and messages to receivers, senders and agents
#                 (tests/fuzz), 60 s for each target if SECONDS do not say otherwise
#   --soak        how long tests/soak goes on, 60 s without it; with MAILRAIL_SOAK_SEED set it
#                 repeats that seed's schedule
#
# The last line is "N passed, N failed". Exits with 1 if anything failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' tests/run.sh; }

sanitizers=false
kill=false
fuzz_seconds=
patterns=()
soak_flags=()
while (($# > 0)); do
  argument=$1
  shift
  case $argument in
    --soak)
      [[ ${1:-} =~ ^[0-9]+$ ]] || { echo "run.sh: --soak SECONDS" >&2; exit 2; }
      soak_flags=("--test_env=MAILRAIL_SOAK_SECONDS=$1" --test_env=MAILRAIL_SOAK_SEED
        "--test_timeout=$(($1 + 900))")
      shift
      ;;
    --sanitizers) sanitizers=true ;;
    --kill) kill=true ;;
    --fuzz)
      fuzz_seconds=60
      if [[ ${1:-} =~ ^[0-9]+$ ]]; then
        fuzz_seconds=$1
        shift
      fi
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    --*)
      echo "run.sh: no option $argument; see --help" >&2
      exit 2
      ;;
    *) patterns+=("$argument") ;;
  esac
done

deploy/install_deps.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

# run_tests LABEL FLAG... -- PATTERN...: builds and tests, and adds to the counts.
run_tests() {
  local label=$1 flags=() status=0 report
  shift
  while [[ $1 != -- ]]; do
    flags+=("$1")
    shift
  done
  [[ -t 1 ]] || flags+=(--show_progress_rate_limit=60)
  flags+=(--keep_going)

  echo "== $label: ${*:2}"
  # First all of the build, so that no test competes with a compiler.
  bazel build "${flags[@]}" "$@" || status=$?
  local events=$scratch/$label.json
  flags+=(--nocache_test_results --build_event_json_file="$events")
  bazel test "${flags[@]}" "$@" || status=$?
  # 3 says that tests failed, 4 that there are none; anything else is a failure of its own.
  [[ $status =~ ^[034]$ ]] && status=0
  report=$(python3 tests/support/count_cases.py --label "$label" --status "$status" "$events")
  echo "$report"
  [[ $report =~ passed\ ([0-9]+),\ failed\ ([0-9]+),\ skipped\ [0-9]+$ ]]
  passed=$((passed + BASH_REMATCH[1]))
  failed=$((failed + BASH_REMATCH[2]))
}

# run_script LABEL COMMAND...: runs what counts its cases itself, and adds to the counts.
run_script() {
  local label=$1 status=0
  shift
  "$@" | tee "$scratch/$label" || status=$?
  if [[ $(tail -n 1 "$scratch/$label") =~ passed\ ([0-9]+),\ failed\ ([0-9]+),\ skipped\ [0-9]+$ ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
  else
    echo "$label: FAILED $1: exit code $status"
    failed=$((failed + 1))
  fi
}

if ((${#patterns[@]} > 0)); then
  run_tests default "${soak_flags[@]}" -- "${patterns[@]}"
else
  run_tests default "${soak_flags[@]}" -- //...
fi
if grep -qs '"//tests/soak:soak_test"' "$scratch/default.json"; then
  logs=$(bazel info bazel-testlogs)/tests/soak
  grep -h '^\[soak\]' "$logs"/soak_test/test.log "$logs"/objects_soak_test/test.log || true
fi
if $sanitizers; then
  ((${#patterns[@]} > 0)) || patterns=(//core/...)
  run_tests asan --config=asan --build_tests_only -- "${patterns[@]}"
  tsan=(--config=tsan --build_tests_only)
  # ThreadSanitizer's fixed memory map does not stand more random bits than this.
  if (($(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28) > 28)); then
    tsan+=("--run_under=setarch -R")
  fi
  run_tests tsan "${tsan[@]}" -- "${patterns[@]}"
fi

if $kill; then
  # A build of its own, in which each of them is numbered.
  run_tests kill --config=steps -- //tests/kill:kill_test
  grep -h '^\[kill\]' "$(bazel info --config=steps bazel-testlogs)/tests/kill/kill_test/test.log" || true
  run_tests instruction -- //tests/instruction:instruction_test
  grep -h '^\[instruction\]' \
    "$(bazel info bazel-testlogs)/tests/instruction/instruction_test/test.log" || true
  # And whether the tests find bugs: one build with all of them.
  run_script bugs tests/bugs/run.py
fi

if [[ -n $fuzz_seconds ]]; then
  # A build of its own, by clang.
  run_script fuzz tests/fuzz/run.py --seconds "$fuzz_seconds"
fi

echo "$passed passed, $failed failed"
((failed == 0))
