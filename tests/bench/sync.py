"""Mutexes, semaphores, barriers, pipes and values of Mailrail beside the system's; see sync.sh."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess

from one_agent import SLICE_SECONDS, Agent

# What is measured, of whom, and beside whom: (name, bench, which of its results, peer, its key).
# The first peer of each is what the ratio is to.
ROWS = [
    ("lock and unlock, alone", "lock", 0, "p50_ns",
     ["pthread-mutex", "pthread-mutex-robust", "flock"]),
    ("lock and unlock, two processes", "lock", 1, "per_s",
     ["pthread-mutex", "pthread-mutex-robust", "flock"]),
    ("acquire and release, alone", "sem", 0, "p50_ns", ["posix-semaphore"]),
    ("wait and post, alone", "sem", 1, "p50_ns", ["posix-semaphore"]),
    ("acquire and release, two processes", "sem", 2, "per_s", ["posix-semaphore"]),
    ("a round of a barrier, two processes", "barrier", 0, "p50_ns", ["pthread-barrier"]),
    ("a pipe, writes of 64 KiB", "pipe", 0, "per_s", ["kernel pipe", "kernel unix-stream"]),
    ("the same, read in place", "pipe --in-place", 0, "per_s",
     ["kernel pipe", "kernel unix-stream"]),
    ("a value of 1 KiB read, nobody writes", "region", 0, "p50_ns", ["pthread-rwlock"]),
    ("the same, 10,000 versions a second", "region", 1, "p50_ns", []),
    ("the same, as fast as they go", "region", 2, "written_p50_ns", ["pthread-rwlock"]),
]
# (What, beside whom, the largest or least ratio, whether it is the largest).
TARGETS = [
    ("lock and unlock, alone", "pthread-mutex", 1.5, True),
    ("a pipe, writes of 64 KiB", "kernel pipe", 2, False),
]
WRITE_BYTES = 64 << 10


def run(*command):
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def command(programs, peer):
    if peer.startswith("kernel "):
        return [f"{programs}/tests/bench/kernel", "throughput", peer.split()[1], "--size",
                str(WRITE_BYTES)]
    return [f"{programs}/tests/bench/sync", peer]


def measure(programs, rounds):
    """{what: {who: [value, one for each round]}}; all are measured in each round."""
    mailrail = f"{programs}/node/cli/mailrail"
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    found = {name: {} for name, *_ in ROWS}
    with Agent(mailrail) as agent:
        for _ in range(rounds):
            ours = {bench: run(mailrail, "bench", *bench.split(), "--seconds", str(SLICE_SECONDS),
                               "-o", "json", "--socket", agent.socket)["results"]
                    for bench in sorted({row[1] for row in ROWS})}
            theirs = {peer: run(*command(programs, peer), "--seconds", str(SLICE_SECONDS),
                                "--cores", cores)
                      for peer in sorted({peer for row in ROWS for peer in row[4]})}
            for their in theirs.values():
                their.setdefault("per_s", their.get("messages_per_s"))
            for name, bench, index, key, others in ROWS:
                result = ours[bench][index]
                values = {peer: theirs[peer][key] for peer in others}
                values["mailrail"] = (result["rate"] if key == "per_s"
                                      else result["percentiles"]["p50"])
                for who, value in values.items():
                    found[name].setdefault(who, []).append(value)
    return found


def shown(value, key):
    if key == "per_s":
        return f"{value / 1e6:.2f} M/s" if value >= 1e6 else f"{value / 1e3:.1f} k/s"
    return f"{value:.1f} ns" if value < 1000 else f"{value / 1000:.2f} us"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", default="bench-results")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two processors are needed")
    found = measure(arguments.programs, arguments.rounds)
    print(f"{'MEASURED':38}{'WHO':22}{'MEDIAN':>12}{'OURS TO IT':>12}{'LEAST':>8}{'MOST':>8}")
    results = []
    for name, _, _, key, peers in ROWS:
        ours = found[name]["mailrail"]
        for who in ["mailrail", *peers]:
            values = found[name][who]
            ratios = [a / b for a, b in zip(ours, values)]
            line = f"{name:38}{who:22}{shown(statistics.median(values), key):>12}"
            if who != "mailrail":
                line += f"{statistics.median(ratios):12.2f}{min(ratios):8.2f}{max(ratios):8.2f}"
            print(line)
            results.append({"measured": name, "who": who, "unit": key, "values": values,
                            "ours_to_it": ratios})
    for name, peer, bound, is_most in TARGETS:
        ratio = statistics.median(a / b for a, b in zip(found[name]["mailrail"], found[name][peer]))
        met = ratio <= bound if is_most else ratio >= bound
        print(f"target: {name}, at {'most' if is_most else 'least'} {bound} x {peer}: {ratio:.2f}, "
              f"{'met' if met else 'MISSED'}")
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("sync.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
