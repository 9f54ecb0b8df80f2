"""Mutexes, semaphores and barriers of Mailrail beside those of the system; see sync.sh."""

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
]
TARGET = ("lock and unlock, alone", 1.5)


def run(*command):
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(programs, rounds):
    """{what: {who: [value, one for each round]}}; all are measured in each round."""
    mailrail, peers = f"{programs}/node/cli/mailrail", f"{programs}/tests/bench/sync"
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    found = {name: {} for name, *_ in ROWS}
    with Agent(mailrail) as agent:
        for _ in range(rounds):
            ours = {bench: run(mailrail, "bench", bench, "--seconds", str(SLICE_SECONDS), "-o",
                               "json", "--socket", agent.socket)["results"]
                    for bench in ("lock", "sem", "barrier")}
            theirs = {peer: run(peers, peer, "--seconds", str(SLICE_SECONDS), "--cores", cores)
                      for peer in sorted({peer for row in ROWS for peer in row[4]})}
            for name, bench, index, key, others in ROWS:
                result = ours[bench][index]
                values = {peer: theirs[peer][key] for peer in others}
                values["mailrail"] = (result["percentiles"]["p50"] if key == "p50_ns"
                                      else result["rate"])
                for who, value in values.items():
                    found[name].setdefault(who, []).append(value)
    return found


def shown(value, key):
    if key == "per_s":
        return f"{value / 1e6:.2f} M/s"
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
    name, most = TARGET
    ratio = statistics.median(a / b for a, b in zip(found[name]["mailrail"],
                                                    found[name]["pthread-mutex"]))
    print(f"target: {name}, at most {most} x pthread-mutex: {ratio:.2f}, "
          f"{'met' if ratio <= most else 'MISSED'}")
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("sync.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
