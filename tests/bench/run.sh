#!/usr/bin/env bash
# Measures Mailrail beside what one would use in its place, in one run, interleaved.
#
#   tests/bench/run.sh [--quick] [--rounds N] [--fifo] [--out FOLDER] [--only NAME,NAME...]
#
#   --quick   three rounds instead of nine, and fewer sizes
#   --rounds  another number of rounds
#   --fifo    programs of one host go before all else; for a machine that is not quiet; needs root
#   --out     where table.txt, results.json, latency.svg and throughput.svg go (bench-results)
#   --only    these alone, and the limits
#
# Installs the Debian packages of the peers. A quiet machine with two processors or more, please.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

deploy/install_deps.sh
packages=(iceoryx libboost-dev libiceoryx-posh-dev libnats-dev libnng-dev libzmq3-dev nats-server
  python3-matplotlib)
missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
    missing+=("$package")
done
if ((${#missing[@]} > 0)); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get install -qy --no-install-recommends "${missing[@]}"
fi

programs=(boost_mq grpc iceoryx kernel nats nng raw zeromq)
bazel build --config=opt --noshow_progress //node/cli:mailrail "${programs[@]/#///tests/bench:}"
# Debian's own Python, which its packages are for.
exec /usr/bin/python3 tests/bench/run.py \
  --programs "$(bazel info --config=opt bazel-bin 2>/dev/null)" "$@"
