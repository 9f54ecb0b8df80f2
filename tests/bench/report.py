"""Tables, targets and charts from the slices that run.py has measured."""

import json
import statistics

SECTIONS = ["latency", "handed over", "rate", "mailbox", "priority", "network latency",
            "network rate", "remote"]
WITH_PEERS = {"latency", "rate", "network latency", "network rate"}
TITLES = {
    "latency": "Round trip of 64 bytes, two processes of one host",
    "handed over": "Round trip of a body prepared in place: first and last line touched",
    "rate": "One way, one sender, one receiver, one host",
    "mailbox": "Mailbox and inbox, 64 bytes",
    "priority": "Urgent message of 64 bytes, one host",
    "network latency": "Round trip of 64 bytes over TCP; Mailrail from process to process through"
                       " two agents",
    "network rate": "One way over TCP; Mailrail likewise",
    "network priority": "Urgent message of 64 bytes, two nodes",
}


class Row:
    """The medians over the slices of one system, in one section, for one size."""

    def __init__(self, slices):
        first = slices[0]
        self.section, self.system, self.size = first["section"], first["system"], first["size"]
        good = [s for s in slices if "failure" not in s]
        self.kept = [s for s in good if not s["dropped"]]
        self.dropped = len(good) - len(self.kept)
        self.failures = [s["failure"] for s in slices if "failure" in s]
        self.unsteady = not self.kept and bool(good)
        self.values = {}
        used = self.kept or good
        for key in ("p50_ns", "p99_ns", "p999_ns", "rate", "futex_ns", "sleeps"):
            values = [s[key] for s in used if key in s]
            if values:
                self.values[key] = statistics.median(values)
        for key in ("p50_ns", "p99_ns"):
            # Where L moved, one of the two was of a process that was not running.
            line = min if self.unsteady else statistics.mean
            ratios = [s[key] / line(s["line_ns"]) for s in used if key in s]
            if ratios:
                self.values[key.replace("_ns", "_lines")] = statistics.median(ratios)
        if used and "futex_ns" in used[0]:
            self.values["futexes"] = statistics.median(s["p50_ns"] / s["futex_ns"] for s in used)

    def get(self, key):
        return self.values.get(key)

    @property
    def is_peer(self):
        return (self.section in WITH_PEERS and not self.system.startswith(("(", "Mailrail")))


def make_rows(found):
    """One Row for each section, system and size."""
    groups = {}
    for one in found:
        one = dict(one)
        name = one.get("name", "")
        # What one run of `bench remote` or `bench priority` has found goes to several sections.
        if one["section"] == "remote":
            if "failure" in one:
                one["section"] = "network rate"
            elif name == "one way":
                one["section"] = "network rate"
            elif name == "round trip":
                one["section"] = "network latency"
            else:
                one["section"] = "network priority"
        if "priority" in one["section"] and name:
            one["system"] = name
        if one["section"] in ("network latency", "network priority") and one["size"] != 64:
            continue
        groups.setdefault((one["section"], one["size"], one["system"]), []).append(one)
    return [Row(slices) for slices in groups.values()]


def time_text(ns):
    if ns is None:
        return "-"
    if ns < 1e4:
        return f"{ns:.0f} ns"
    return f"{ns / 1e3:.1f} us" if ns < 1e7 else f"{ns / 1e6:.1f} ms"


def rate_text(rate):
    if rate is None:
        return "-"
    return f"{rate / 1e6:.2f} M/s" if rate >= 1e5 else f"{rate / 1e3:.1f} k/s"


def size_text(size):
    for unit, bytes_in_it in (("M", 1 << 20), ("K", 1 << 10)):
        if size >= bytes_in_it and size % bytes_in_it == 0:
            return f"{size // bytes_in_it}{unit}"
    return str(size)


def ratio_text(value):
    return "-" if value is None else f"{value:.2f}"


def aligned(rows):
    """Rows of text in columns; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(widths[i]) if i == 0 else cell.rjust(widths[i])
                 for i, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def section_text(section, rows):
    timed = any(row.get("p50_ns") is not None for row in rows)
    several = len({row.size for row in rows}) > 1
    header = ["SYSTEM"] + (["BYTES"] if several else [])
    header += ["P50", "P99", "P99.9", "P50 / L"] if timed else ["RATE", "BYTES/S"]
    with_best = section in WITH_PEERS
    header += (["TO BEST PEER"] if with_best else []) + ["SLICES"]
    lines, notes = [header], []
    key = "p50_ns" if timed else "rate"
    for size in sorted({row.size for row in rows}) if several else [None]:
        group = [row for row in rows if size is None or row.size == size]
        peers = [row.get(key) for row in group if row.is_peer and row.get(key) is not None]
        best = (min if timed else max)(peers) if peers and with_best else None
        group.sort(key=lambda row: (row.get(key) or float("inf")) * (1 if timed else -1)
                   if row.get(key) is not None else float("inf"))
        for row in group:
            cells = [row.system] + ([size_text(row.size)] if several else [])
            value = row.get(key)
            if value is None:
                notes.append(f"{row.system}, {size_text(row.size)} bytes: failed:"
                             f" {row.failures[0]}")
                cells += ["failed"] + ["-"] * (len(header) - len(cells) - 2)
            elif timed:
                cells += [time_text(row.get(k)) for k in ("p50_ns", "p99_ns", "p999_ns")]
                cells.append(ratio_text(row.get("p50_lines")))
            else:
                cells += [rate_text(value), f"{value * row.size / 1e9:.2f} GB/s"]
            if value is not None and with_best:
                cells.append(ratio_text(value / best) if best else "-")
            total = len(row.kept) + row.dropped + len(row.failures)
            cells.append(f"{len(row.kept)}/{total}" + ("~" if row.unsteady else ""))
            lines.append(cells)
            if row.failures and value is not None:
                notes.append(f"{row.system}, {size_text(row.size)} bytes: {len(row.failures)} of"
                             f" {total} failed: {row.failures[0]}")
    return "\n".join([TITLES[section], "", aligned(lines), *notes, ""])


class Targets:
    """The numbers that the design steers by, beside what was measured."""

    def __init__(self, rows):
        self.rows = {(row.section, row.system, row.size): row for row in rows}
        self.unsteady = []  # rows that the target to be added next rests on
        self.found = []

    def value(self, section, system, key, size=64):
        row = self.rows.get((section, system, size))
        if row is None:
            return None
        if row.unsteady:
            self.unsteady.append(row)
        return row.get(key)

    def at_most(self, what, value, target, text=ratio_text, unit=""):
        self._add(what, value, target, "<=", text, unit)

    def at_least(self, what, value, target, text=rate_text, unit=""):
        self._add(what, value, target, ">=", text, unit)

    def _add(self, what, value, target, sign, text, unit):
        one = {"what": what, "target": target, "value": value}
        if value is None or target is None:
            one["verdict"] = "not measured"
        else:
            met = value <= target if sign == "<=" else value >= target
            by = f"{abs(value / target - 1) * 100:.0f} %" if value < 10 * target else (
                f"a factor of {value / target:.0f}")
            one["met"] = None if self.unsteady else met
            one["verdict"] = f"met, by {by}" if met else f"MISSED by {by}"
            if self.unsteady:
                one["verdict"] = "not known: no quiet slice"
        self.unsteady = []
        shown = "-" if value is None else text(value) + unit
        goal = "-" if target is None else f"{sign} {text(target)}{unit}"
        one["cells"] = [what, shown, goal, one["verdict"]]
        self.found.append(one)


def ratio(a, b):
    return a / b if a is not None and b else None


def make_targets(rows):
    t = Targets(rows)
    t.at_most("direct round trip, 48 bytes: p50 / L",
              t.value("latency", "Mailrail, 48 bytes", "p50_lines", 48), 1.15)
    t.at_most("direct round trip, 48 bytes: p99 / L",
              t.value("latency", "Mailrail, 48 bytes", "p99_lines", 48), 2.3)
    t.at_most("direct round trip, 64 bytes: p50 / L",
              t.value("latency", "Mailrail", "p50_lines"), 1.3)
    t.at_most("direct round trip, 64 bytes: p99 / L",
              t.value("latency", "Mailrail", "p99_lines"), 2.5)
    for size in (8192, 1 << 20):
        small = t.value("latency", "Mailrail", "p50_lines")
        t.at_most(f"handed over in place, {size_text(size)}: p50 / that of 64 bytes",
                  ratio(t.value("handed over", "Mailrail, in place", "p50_lines", size), small),
                  1.2)
    t.at_least("flood, 64 bytes, a call each", t.value("rate", "Mailrail", "rate"), 30e6)
    t.at_least("flood, 64 bytes, in batches",
               t.value("rate", "Mailrail, batches of 32", "rate"), 60e6)
    t.at_least("flood, 1K",
               max((v for v in (t.value("rate", name, "rate", 1024)
                                for name in ("Mailrail", "Mailrail, in place")) if v is not None),
                   default=None), 8e6)
    for name in ("Mailrail", "Mailrail, in place"):
        ring = t.value("rate", "(ring)", "rate", 65536)
        how = "written in place" if "place" in name else "copied"
        t.at_least(f"flood, 64K, {how}: / plain ring",
                   ratio(t.value("rate", name, "rate", 65536), ring), 0.9, ratio_text)
    t.at_most("blocking round trip: p50 / bare futex exchange",
              t.value("latency", "Mailrail, asleep", "futexes"), 1.15)
    t.at_least("mailbox, 1 to 1", t.value("mailbox", "1 sender, 1 receiver", "rate"), 20e6)
    t.at_least("mailbox, 2 senders, 2 receivers",
               t.value("mailbox", "2 senders, 2 receivers", "rate"), 8e6)
    nodes = "Mailrail, two nodes"
    t.at_least("two nodes, flood, 64 bytes", t.value("network rate", nodes, "rate"), 3e6)
    t.at_most("two nodes, round trip: p50 / gRPC stream's",
              ratio(t.value("network latency", nodes, "p50_ns"),
                    t.value("network latency", "gRPC stream", "p50_ns")), 1.5)
    for section, where in (("priority", "one host"), ("network priority", "two nodes")):
        t.at_most(f"urgent behind bulk, {where}: p99 / p99 unloaded",
                  ratio(t.value(section, "urgent round trip, behind bulk", "p99_ns"),
                        t.value(section, "urgent round trip, unloaded", "p99_ns")), 2)
    t.at_most("idle, 1,000 links: processor time", None, None)
    t.at_most("death noticed: p99", None, None)
    return t.found


def write(folder, machine, found):
    folder.mkdir(parents=True, exist_ok=True)
    rows = make_rows(found)
    targets = make_targets(rows)
    slices = [one for one in found if "failure" not in one]
    dropped = sum(1 for one in slices if one["dropped"])
    lines = [value for one in slices for value in one["line_ns"]]
    loads = [f"{value:.1f}" for value in (machine["load_before"][0], machine["load_after"][0])]
    text = [f"{machine['processor']}, {machine['processors']} processors, Linux"
            f" {machine['kernel']}; load {loads[0]} before, {loads[1]} after"]
    if lines:
        text.append(f"{machine['rounds']} rounds in {machine['seconds']} s; L {min(lines)} to"
                    f" {max(lines)} ns, median {statistics.median(lines):.0f}")
    text += [f"{dropped} of {len(slices)} slices dropped: L moved by more than 10 % in them"
             " (~: all of a row's, so it is shown with them)",
             "systems in brackets are limits; SLICES: how many were kept, of how many", ""]
    if machine["fifo"]:
        text.insert(-1, "programs of one host ran before all else (SCHED_FIFO)")
    for section in TITLES:
        mine = [row for row in rows if row.section == section]
        if section == "mailbox":  # beside it: the peer whose queue has several ends too
            mine += [row for row in rows if row.section == "rate" and row.size == 64
                     and row.system.startswith("Boost")]
        if mine:
            text.append(section_text(section, mine))
    text += ["Targets", "", aligned([["WHAT", "MEASURED", "TARGET", "VERDICT"]]
                                    + [one.pop("cells") for one in targets]), ""]
    (folder / "table.txt").write_text("\n".join(text))
    print("\n".join(text))
    (folder / "results.json").write_text(json.dumps(
        {"machine": machine, "targets": targets, "slices": found,
         "rows": [{"section": row.section, "system": row.system, "size": row.size,
                   "kept": len(row.kept), "dropped": row.dropped, "failures": row.failures,
                   **row.values} for row in rows]}, indent=1))
    try:
        draw(folder, rows)
    except ImportError as error:
        print(f"no charts: {error}")


def draw(folder, rows):
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot

    timed = [row for row in rows if row.section in ("latency", "network latency")
             and row.get("p50_ns") is not None]
    timed.sort(key=lambda row: -row.get("p50_ns"))
    figure, axes = pyplot.subplots(figsize=(9, 0.45 * max(4, len(timed)) + 1))
    for key, label, mark in (("p50_ns", "p50", "o"), ("p99_ns", "p99", "s"),
                             ("p999_ns", "p99.9", "^")):
        axes.plot([row.get(key) / 1e3 for row in timed], range(len(timed)), mark, label=label)
    axes.hlines(range(len(timed)), [row.get("p50_ns") / 1e3 for row in timed],
                [row.get("p999_ns") / 1e3 for row in timed], color="0.8", zorder=0)
    axes.set_yticks(range(len(timed)), [row.system for row in timed])
    for label, row in zip(axes.get_yticklabels(), timed):
        label.set_fontweight("bold" if row.system.startswith("Mailrail") else "normal")
    axes.set_xscale("log")
    axes.set_xlabel("round trip of 64 bytes, microseconds")
    axes.grid(axis="x", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "latency.svg")

    figure, axes = pyplot.subplots(figsize=(9, 6))
    rated = [row for row in rows if row.section in ("rate", "network rate")
             and row.get("rate") is not None]
    for system in sorted({row.system for row in rated}):
        points = sorted((row.size, row.get("rate")) for row in rated if row.system == system)
        own = system.startswith("Mailrail")
        axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", label=system,
                  linewidth=2.5 if own else 1,
                  linestyle="dotted" if system.startswith("(") else "solid" if own else "dashed")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    sizes = sorted({row.size for row in rated})
    axes.set_xticks(sizes, [size_text(size) for size in sizes])
    axes.set_xlabel("bytes in a message")
    axes.set_ylabel("messages a second, one way")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(folder / "throughput.svg")
    pyplot.close("all")
