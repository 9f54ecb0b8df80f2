#!/usr/bin/env bash
# Measures mutexes, semaphores, barriers, pipes and shared values of Mailrail beside process-shared
# pthread mutexes, barriers and read-write locks, POSIX semaphores, flock(2), kernel pipes and Unix
# sockets, in one run, interleaved; prints a table with ratios.
#
#   tests/bench/sync.sh [--rounds N] [--out FOLDER]
#
#   --rounds  how many (9)
#   --out     where sync.json goes (bench-results)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

deploy/install_deps.sh
bazel build --config=opt --noshow_progress //node/cli:mailrail //tests/bench:sync //tests/bench:kernel
exec /usr/bin/python3 tests/bench/sync.py \
  --programs "$(bazel info --config=opt bazel-bin 2>/dev/null)" "$@"
