"""What one agent's links and mailboxes cost, and how speed goes with the number of senders and the
size of messages; see scale.sh."""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import time

from one_agent import Agent, measure_rate

LINKS = [10, 100, 1000, 10000]
MAILBOXES = [1, 10, 100, 1000]
SENDERS = [1, 2, 4, 8, 16, 32, 64]
SIZES = [0, 1, 8, 64, 512, 4096, 32768, 1 << 18, 1 << 21, 1 << 24, 1 << 26]
# Two of its own, and a part of those of its processes.
DESCRIPTORS_PER_LINK = 2.25
IDLE_SECONDS = 5


def affordable(count):
    """So many links, or as many as a process here may have the descriptors for."""
    needed = int(count * DESCRIPTORS_PER_LINK)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, needed), hard):  # root may raise it, in some containers not
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(needed, limit)), limit))
            break
        except (ValueError, OSError):
            continue
    return min(count, int(resource.getrlimit(resource.RLIMIT_NOFILE)[0] / DESCRIPTORS_PER_LINK))


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_held(program, mailrail, what, count):
    """What `scale what count` reports, and what it leaves at the agent while it waits."""
    with Agent(mailrail) as agent:
        memory = agent.memory_bytes()
        descriptors = agent.descriptors()
        with subprocess.Popen([program, what, str(count), agent.socket], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"scale {what} {count} has failed")
            found = json.loads(line)
            made = found[what]
            pids = found.pop("pids")
            found["bytes_each"] = (agent.memory_bytes() - memory) / made
            found["descriptors_each"] = (agent.descriptors() - descriptors) / made
            before = [sum(map(processor_seconds, group)) for group in (agent.pids(), pids)]
            time.sleep(IDLE_SECONDS)
            after = [sum(map(processor_seconds, group)) for group in (agent.pids(), pids)]
            found["agent_idle_percent"] = 100 * (after[0] - before[0]) / IDLE_SECONDS
            found["process_idle_percent"] = (100 * (after[1] - before[1]) / IDLE_SECONDS
                                             / len(pids))
            process.stdin.close()
        if process.returncode != 0:
            raise RuntimeError(f"scale {what} {count} has failed")
    return found


def draw(folder, results):
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(2, 3, figsize=(15, 8))

    def plot(axis, rows, key, values, title, base=10):
        for name, value in values.items():
            axis.plot([row[key] for row in rows], [value(row) for row in rows], marker="o",
                      label=name)
        axis.set_xscale("log", base=base)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(key)
        axis.set_title(title)
        axis.grid(alpha=0.3)
        if len(values) > 1:
            axis.legend()

    plot(axes[0][0], results["links"], "links",
         {"p50": lambda row: row["first_message_p50_ns"] / 1e6,
          "p99": lambda row: row["first_message_p99_ns"] / 1e6}, "first message of a link, ms")
    plot(axes[0][1], results["links"], "links", {"": lambda row: row["bytes_each"] / 1024},
         "memory of a link, KiB")
    plot(axes[0][2], results["mailboxes"], "mailboxes",
         {"made and connected": lambda row: row["set_up_ns"] / 1e3}, "set-up of a mailbox, us")
    plot(axes[1][0], results["mailboxes"], "mailboxes", {"": lambda row: row["message_ns"]},
         "a message, each to the next mailbox, ns")
    plot(axes[1][1], results["senders"], "senders", {"": lambda row: row["rate"] / 1e6},
         "senders of one inbox, M messages/s", base=2)
    # The rate of empty ones is in the table: they have no place on this axis.
    plot(axes[1][2], [row for row in results["sizes"] if row["size"] > 0], "size",
         {"": lambda row: row["rate"] * row["size"] / 1e9}, "one way, GB/s", base=2)
    figure.tight_layout()
    figure.savefig(folder / "scale.svg")


def main():
    parser = argparse.ArgumentParser(prog="scale.sh")
    parser.add_argument("--programs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", default="bench-results", help="the folder of the results")
    arguments = parser.parse_args()
    mailrail = f"{arguments.programs}/node/cli/mailrail"
    program = f"{arguments.programs}/tests/bench/scale"
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    results = {}

    print(f"{'links':>9} {'processes':>9} {'first message p50, p99':>24} {'memory each':>12} "
          f"{'descriptors each':>16} {'agent idle':>10} {'process idle':>12}")
    results["links"] = []
    for count in LINKS:
        row = measure_held(program, mailrail, "links", affordable(count))
        results["links"].append(row)
        print(f"{row['links']:9} {row['processes']:9} {row['first_message_p50_ns'] / 1e6:13.2f} ms, "
              f"{row['first_message_p99_ns'] / 1e6:4.2f} ms {row['bytes_each'] / 1024:8.1f} KiB "
              f"{row['descriptors_each']:16.1f} {row['agent_idle_percent']:8.1f} % "
              f"{row['process_idle_percent']:10.2f} %", flush=True)
    print(f"\n{'mailboxes':>9} {'made and connected':>19} {'a message':>10} {'memory each':>12} "
          f"{'descriptors each':>16} {'agent idle':>10}")
    results["mailboxes"] = []
    for count in MAILBOXES:
        row = measure_held(program, mailrail, "mailboxes", count)
        results["mailboxes"].append(row)
        print(f"{row['mailboxes']:9} {row['set_up_ns'] / 1e3:16.0f} us {row['message_ns']:7.0f} ns "
              f"{row['bytes_each'] / 1024:8.1f} KiB {row['descriptors_each']:16.1f} "
              f"{row['agent_idle_percent']:8.1f} %", flush=True)
    with Agent(mailrail) as agent:
        print("\nsenders of one inbox, 64 bytes")
        results["senders"] = []
        for count in SENDERS:
            rate = measure_rate(mailrail, agent, "fanin", "--senders", str(count))
            results["senders"].append({"senders": count, "rate": rate})
            print(f"{count:9} {rate / 1e6:8.2f} M/s", flush=True)
        print("\nbytes in a message, one sender")
        results["sizes"] = []
        for size in SIZES:
            rate = measure_rate(mailrail, agent, "throughput", "--size", str(size))
            results["sizes"].append({"size": size, "rate": rate})
            print(f"{size:9} {rate:12.0f} /s {rate * size / 1e9:8.2f} GB/s", flush=True)
    (folder / "scale.json").write_text(json.dumps(results, indent=1) + "\n")
    try:
        draw(folder, results)
    except ImportError as error:
        print(f"no charts: {error}")


if __name__ == "__main__":
    main()
