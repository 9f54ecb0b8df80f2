"""Runs the programs of this folder and `mailrail bench`, interleaved, and reports; see run.sh.

A slice is one run of one program: 0.3 s, with L (the round trip of a cache line between the same
two processors) measured before and after by the program itself. A slice in which L moved by more
than 10 % is dropped: the machine was not the same throughout. What is reported is the median over
rounds.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import report

SLICE_SECONDS = 0.3
MAX_LINE_CHANGE = 0.10
PROGRAM_TIMEOUT_SECONDS = 30
START_TIMEOUT_SECONDS = 20

# Program, name, what it is called in tables. The limits are what there is without any system.
LIMITS = [("raw", "cache-line", "(cache line)"), ("raw", "futex", "(futex)")]
LOCAL = [
    ("boost_mq", "boost-mq", "Boost message_queue"),
    ("kernel", "posix-mq", "POSIX message queue"),
    ("kernel", "unix-seqpacket", "Unix socket, packets"),
    ("kernel", "unix-stream", "Unix socket, stream"),
    ("kernel", "pipe", "pipe"),
    ("zeromq", "zeromq-ipc", "ZeroMQ ipc"),
    ("nng", "nng-ipc", "nng ipc"),
    ("iceoryx", "iceoryx", "iceoryx"),
]
NETWORK = [
    ("zeromq", "zeromq-tcp", "ZeroMQ TCP"),
    ("grpc", "grpc-stream", "gRPC stream"),
]
NETWORK_LATENCY = NETWORK + [("grpc", "grpc-unary", "gRPC unary"), ("nats", "nats-at-once", "NATS")]
NETWORK_RATE = NETWORK + [("nats", "nats", "NATS")]
SIZES = [64, 256, 1024, 4096, 16384, 65536, 1 << 20]
QUICK_SIZES = [64, 1024, 65536]
# Two agents on one machine have no use for the larger ones beside what they are compared with.
NETWORK_SIZES = [64, 1024, 65536]


def largest_size(name):
    """What a peer takes with its default settings."""
    if name != "posix-mq":
        return max(SIZES)
    try:
        return int(pathlib.Path("/proc/sys/fs/mqueue/msgsize_max").read_text())
    except OSError:
        return 8192


def environment():
    """For what uses the agents of this run: none of its own settings, and no agent of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILRAIL_")}
    return {**kept, "MAILRAIL_AUTOSTART": "0"}


class Slice:
    """How to measure one thing once: a command, and the rows that its JSON gives."""

    def __init__(self, section, system, command, read, size=64, only=()):
        self.section, self.system, self.size = section, system, size
        self.one_host = section not in ("network latency", "network rate", "remote")
        self.command, self.read, self.only = command, read, set(only)


def read_peer(answer):
    """The rows of a program of this folder: [(name, values)]."""
    if answer["mode"] == "latency":
        return [("", {"p50_ns": answer["p50_ns"], "p99_ns": answer["p99_ns"],
                      "p999_ns": answer["p999_ns"]})]
    return [("", {"rate": answer["messages_per_s"]})]


def read_mailrail(answer):
    rows = []
    for result in answer["results"]:
        if result["rate"] is not None:
            values = {"rate": result["rate"]}
        else:
            percentiles = result["percentiles"]
            values = {"p50_ns": percentiles["p50"], "p99_ns": percentiles["p99"],
                      "p999_ns": percentiles["p99.9"]}
        if "futex_ns" in answer:
            values["futex_ns"] = sum(answer["futex_ns"]) / len(answer["futex_ns"])
            values["sleeps"] = min(answer["sleeps_per_round_trip"])
        rows.append((result["name"], values))
    return rows


class Agents:
    """What must run beside the programs: two nodes, the far side of `bench remote`, iceoryx's
    daemon. A context; ends them by their ids."""

    def __init__(self, mailrail, with_iceoryx):
        self.mailrail, self.with_iceoryx = mailrail, with_iceoryx
        self.folder = tempfile.mkdtemp(prefix="mailrail-bench.", dir="/tmp")
        self.running = {}

    def socket(self, node):
        return f"{self.folder}/{node}.sock"

    def __enter__(self):
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        for process in reversed(list(self.running.values())):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name, *command):
        with open(f"{self.folder}/{name}.log", "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running[name] = process

    def ended(self):
        """What has ended by itself, and its last words: a line each."""
        lines = []
        for name, process in self.running.items():
            if process.poll() is not None:
                log = pathlib.Path(self.folder, f"{name}.log").read_text(errors="replace")
                lines.append(f"{name} ended with code {process.returncode}: "
                             + (log.strip().splitlines() or ["no output"])[-1])
        return lines

    def _wait_for(self, what, done):
        end = time.monotonic() + START_TIMEOUT_SECONDS
        while not done():
            if time.monotonic() > end:
                logs = "".join(p.read_text() for p in pathlib.Path(self.folder).glob("*.log"))
                raise RuntimeError(f"{what}; the logs:\n{logs}")
            time.sleep(0.05)

    def _start_all(self):
        # 127.0.0.0/8 is all loopback; no other run has this pid.
        pid = os.getpid()
        address = f"127.{pid >> 16}.{pid >> 8 & 255}.{pid & 255}"
        at = {"alpha": f"{address}:7495", "beta": f"{address}:7496"}
        for node, peer in (("alpha", "beta"), ("beta", "alpha")):
            self._start(node, self.mailrail, "agent", "--node", node, "--socket",
                        self.socket(node), "--listen", at[node], "--peer", f"{peer}={at[peer]}")
        for node in at:
            self._wait_for("the two nodes do not connect", lambda node=node: self._connected(node))
        self._start("serve", self.mailrail, "bench", "serve", "--socket", self.socket("beta"))
        log = pathlib.Path(self.folder, "serve.log")
        self._wait_for("the far side does not serve", lambda: "serving" in log.read_text())
        if self.with_iceoryx and shutil.which("iox-roudi"):
            self._start("iox-roudi", "iox-roudi", "--monitoring-mode", "off")

    def _connected(self, node):
        answer = subprocess.run([self.mailrail, "nodes", "-o", "json", "--socket",
                                 self.socket(node)], capture_output=True, text=True, check=False,
                                env=environment())
        return answer.returncode == 0 and all(n["connected"] for n in json.loads(answer.stdout))


def peer_slices(folder, quick):
    sizes = QUICK_SIZES if quick else SIZES

    def one(section, mode, program, name, system, size):
        command = [f"{folder}/tests/bench/{program}", mode, name, "--size", str(size), "--seconds",
                   str(SLICE_SECONDS)]
        return Slice(section, system, command, read_peer, size, only=(name, program))

    slices = [one("latency", "latency", *limit, 48) for limit in LIMITS]
    slices += [one("latency", "latency", *peer, 64) for peer in LOCAL]
    slices += [one("rate", "throughput", *peer, size)
               for size in sizes for peer in [("raw", "ring", "(ring)"), *LOCAL]
               if size <= largest_size(peer[1])]
    slices += [one("network latency", "latency", *peer, 64) for peer in NETWORK_LATENCY]
    slices += [one("network rate", "throughput", *peer, size)
               for size in sizes if size in NETWORK_SIZES for peer in NETWORK_RATE]
    return slices


def mailrail_slices(mailrail, agents, quick):
    def one(section, system, bench, *flags, size=64):
        command = [mailrail, "bench", bench, "--size", str(size), "--seconds", str(SLICE_SECONDS),
                   "-o", "json", "--socket", agents.socket("alpha"), *flags]
        return Slice(section, system, command, read_mailrail, size, only=("mailrail",))

    spin = ("--mode", "spin")
    slices = [
        one("latency", "Mailrail", "latency", *spin),
        one("latency", "Mailrail, 48 bytes", "latency", *spin, size=48),
        one("latency", "Mailrail, adaptive", "latency", "--mode", "adaptive"),
        one("latency", "Mailrail, asleep", "wakeup"),
        one("rate", "Mailrail, batches of 32", "throughput", "--batch", "32", *spin),
        one("mailbox", "1 sender, 1 receiver", "mailbox", *spin),
        one("mailbox", "1 sender, 1 receiver, batches of 32", "mailbox", "--batch", "32", *spin),
        one("mailbox", "2 senders, 2 receivers", "mailbox", "--senders", "2", "--receivers", "2"),
        one("mailbox", "2 senders, 1 inbox", "fanin", "--senders", "2"),
        one("priority", "Mailrail", "priority", *spin),
    ]
    slices += [one("handed over", "Mailrail, in place", "latency", "--in-place", *spin, size=size)
               for size in (64, 8192, 1 << 20)]
    for size in QUICK_SIZES if quick else SIZES:
        slices.append(one("rate", "Mailrail", "throughput", *spin, size=size))
        if size >= 1024:
            slices.append(one("rate", "Mailrail, in place", "throughput", "--in-place", *spin,
                              size=size))
    slices += [one("remote", "Mailrail, two nodes", "remote", "--to", "beta", size=size)
               for size in NETWORK_SIZES]
    return slices


def run_slice(one):
    """(rows, L, None), or (None, None, why not)."""
    try:
        process = subprocess.Popen(one.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=environment(),
                                   start_new_session=True)
    except OSError as error:
        return None, None, str(error)
    try:
        out, err = process.communicate(timeout=PROGRAM_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with what it has forked
        process.communicate()
        return None, None, f"no end after {PROGRAM_TIMEOUT_SECONDS} s"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    try:
        answer = json.loads(out.strip().splitlines()[-1])
        rows, line = one.read(answer), answer["line_ns"]
    except (IndexError, KeyError, ValueError):
        last = (err.strip().splitlines() or ["no output"])[-1]
        return None, None, f"exit code {process.returncode}: {last}"
    return rows, line, None


def measure(slices, rounds):
    """All slices of all rounds, as dictionaries that results.json has."""
    found = []
    for number in range(1, rounds + 1):
        for i, one in enumerate(slices, 1):
            if sys.stderr.isatty():
                print(f"\rround {number} of {rounds}: {i} of {len(slices)} ", end="",
                      file=sys.stderr, flush=True)
            rows, line, failure = run_slice(one)
            base = {"round": number, "section": one.section, "system": one.system,
                    "size": one.size}
            if failure is not None:
                found.append({**base, "failure": failure})
                continue
            moved = abs(line[0] - line[-1]) / max(1, min(line))
            for name, values in rows:
                found.append({**base, "name": name, "line_ns": line,
                              "dropped": moved > MAX_LINE_CHANGE, **values})
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return found


def machine():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"processor": model, "processors": len(os.sched_getaffinity(0)),
            "kernel": os.uname().release, "load_before": os.getloadavg()}


def main():
    parser = argparse.ArgumentParser(prog="run.sh")
    parser.add_argument("--programs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="three rounds, and fewer sizes")
    parser.add_argument("--rounds", type=int, help="how many (default: nine)")
    parser.add_argument("--fifo", action="store_true",
                        help="programs of one host go before all else; for a machine that is not"
                             " quiet; needs root")
    parser.add_argument("--out", default="bench-results", help="the folder of the results")
    parser.add_argument("--only", help="NAME,NAME...: these alone, and the limits")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 9)
    wanted = set(arguments.only.split(",")) if arguments.only else None

    mailrail = f"{arguments.programs}/node/cli/mailrail"
    begin = machine()
    begin_time = time.monotonic()
    with Agents(mailrail, wanted is None or "iceoryx" in wanted) as agents:
        # Mailrail's and the peers' take turns, so that nobody has the quiet minute alone.
        slices = peer_slices(arguments.programs, arguments.quick) + mailrail_slices(
            mailrail, agents, arguments.quick)
        slices.sort(key=lambda one: (report.SECTIONS.index(one.section), one.size))
        if wanted is not None:
            slices = [s for s in slices if s.system.startswith("(") or s.only & wanted]
        for one in slices:
            if arguments.fifo and one.one_host:
                one.command = ["chrt", "--fifo", "10", *one.command]
        found = measure(slices, rounds)
        for line in agents.ended():
            print(f"run.sh: {line}", file=sys.stderr)
    begin["seconds"] = round(time.monotonic() - begin_time)
    begin["load_after"] = os.getloadavg()
    begin["rounds"] = rounds
    begin["fifo"] = arguments.fifo
    report.write(pathlib.Path(arguments.out), begin, found)


if __name__ == "__main__":
    main()
