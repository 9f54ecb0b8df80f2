"""What each mode of a mailbox costs over the bare one; see modes.sh."""

import argparse
import json
import pathlib
import statistics

from one_agent import Agent, measure_rate

# What it is called, and its flags.
ONE_TO_ONE = [
    ("bare", []),
    ("acknowledged by hand", ["--receive", "lease"]),
    ("with receipts", ["--receipts"]),
    ("order per sender", ["--order", "per-sender"]),
    ("hold order", ["--hold-order"]),
    ("hold order, acknowledged by hand", ["--hold-order", "--receive", "lease"]),
    ("round robin", ["--distribution", "round-robin"]),
    ("sticky by key, 16 keys", ["--distribution", "sticky-by-key", "--keys", "16"]),
    ("exclusive", ["--policy", "exclusive"]),
    ("link", ["--policy", "link"]),
    ("broadcast", ["--policy", "broadcast"]),
    ("broadcast, one order for all", ["--policy", "broadcast", "--order", "log"]),
]
TWO_TO_TWO = [
    ("bare", []),
    ("acknowledged by hand", ["--receive", "lease"]),
    ("with receipts", ["--receipts"]),
    ("order per sender", ["--order", "per-sender"]),
    ("hold order", ["--hold-order"]),
    ("round robin", ["--distribution", "round-robin"]),
    ("sticky by key, 16 keys", ["--distribution", "sticky-by-key", "--keys", "16"]),
    ("broadcast", ["--policy", "broadcast"]),
    ("broadcast, one order for all", ["--policy", "broadcast", "--order", "log"]),
]


def measure(mailrail, rounds):
    """[(count, mode, rates, ratios)]: each rate, and its ratio to that of the bare mailbox which was
    measured just before it."""
    found = {}
    with Agent(mailrail) as agent:
        for _ in range(rounds):
            for count, modes in ((1, ONE_TO_ONE), (2, TWO_TO_TWO)):
                for name, flags in modes:
                    bare, rate = (
                        measure_rate(mailrail, agent, "mailbox", "--senders", str(count),
                                     "--receivers", str(count), *some)
                        for some in ([], flags))
                    rates, ratios = found.setdefault((count, name), ([], []))
                    rates.append(rate)
                    ratios.append(rate / bare)
    return [(count, name, rates, ratios) for (count, name), (rates, ratios) in found.items()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", default="bench-results")
    arguments = parser.parse_args()
    rows = measure(f"{arguments.programs}/node/cli/mailrail", arguments.rounds)
    print(f"{'SENDERS, RECEIVERS':20}{'MODE':36}{'RATE':>12}{'TO BARE':>10}{'LEAST':>8}{'MOST':>8}")
    results = []
    for count, name, rates, ratios in rows:
        rate, ratio = statistics.median(rates), statistics.median(ratios)
        print(f"{f'{count}, {count}':20}{name:36}{rate / 1e6:8.2f} M/s{ratio:10.2f}"
              f"{min(ratios):8.2f}{max(ratios):8.2f}")
        results.append({"senders": count, "receivers": count, "mode": name, "rates": rates,
                        "to_bare": ratios})
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("modes.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
