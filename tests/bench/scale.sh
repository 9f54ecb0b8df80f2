#!/usr/bin/env bash
# Measures what links and mailboxes cost an agent (memory, descriptors, set-up time, processor time
# when idle), and how speed goes with the number of senders and the size of messages.
#
#   tests/bench/scale.sh [--out FOLDER]
#
#   --out   where scale.json and scale.svg go (bench-results)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

deploy/install_deps.sh
bazel build --config=opt --noshow_progress //node/cli:mailrail //tests/bench:scale
exec /usr/bin/python3 tests/bench/scale.py \
  --programs "$(bazel info --config=opt bazel-bin 2>/dev/null)" "$@"
