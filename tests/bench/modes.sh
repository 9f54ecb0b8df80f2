#!/usr/bin/env bash
# Measures what each mode of a mailbox costs over the bare one, which is measured before each of
# them: receive policies, orders, distributions, leases, receipts.
#
#   tests/bench/modes.sh [--rounds N] [--out FOLDER]
#
#   --rounds  how many (9)
#   --out     where modes.json goes (bench-results)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

deploy/install_deps.sh
bazel build --config=opt --noshow_progress //node/cli:mailrail
exec /usr/bin/python3 tests/bench/modes.py \
  --programs "$(bazel info --config=opt bazel-bin 2>/dev/null)" "$@"
