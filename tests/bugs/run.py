#!/usr/bin/env python3
"""Sees that the tests find the bugs that are built in on purpose.

Builds the checks of the table in tests/bugs/README.md with --config=bugs, and runs each without its
bug, which must pass, and with it, which must fail. Prints a line for each, and at the end
"bugs: passed N, failed N, skipped N". Exits with 1 if anything failed.

  tests/bugs/run.py [BUG...]   only these
"""

import os
import re
import subprocess
import sys
import time

ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (bugs|tsan) \| `//([\w/]+):(\w+)` \| `(\S+)` \|$", re.M)
NAME = re.compile(r"DO\((\w+)\)")

FLAGS = {
    "bugs": ["--config=bugs"],
    # Data races by order alone no x86 processor shows.
    "tsan": ["--config=bugs", "--config=tsan", "--platform_suffix=-bugs-tsan"],
}

# No check that finds its bug takes so long, on a machine that is busy.
TIMEOUT_S = 300


def read_table():
    """Returns [(bug, what is wrong, build, folder, target, filter)]."""
    with open("tests/bugs/README.md", encoding="utf-8") as file:
        rows = ROW.findall(file.read())
    with open("core/base/seeded_bug.h", encoding="utf-8") as file:
        bugs = set(NAME.findall(file.read())) - {"NAME"}
    if bugs != {row[0] for row in rows}:
        sys.exit("tests/bugs/README.md and core/base/seeded_bug.h have different bugs: "
                 + ", ".join(sorted(bugs ^ {row[0] for row in rows})))
    return rows


def build(name, rows):
    """Builds the checks of this build; returns the folder of what was built."""
    targets = sorted({f"//{row[3]}:{row[4]}" for row in rows})
    flags = FLAGS[name] + ([] if sys.stdout.isatty() else ["--show_progress_rate_limit=60"])
    subprocess.run(["bazel", "build", *flags, *targets], check=True)
    out = subprocess.run(["bazel", "info", *flags[:len(FLAGS[name])], "bazel-bin"], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return out.stdout.strip()


def run(binary, case, bug, tsan):
    """Returns (what came of it: "passes", "fails" or what is wrong, its output, seconds)."""
    environment = dict(os.environ, MAILRAIL_SEEDED_BUG=bug, LD_BIND_NOW="1")
    # The first race is enough.
    environment["TSAN_OPTIONS"] = "halt_on_error=1"
    command = [binary, f"--gtest_filter={case}", "--gtest_fail_fast"]
    if tsan:
        # Its fixed memory map does not stand many random bits.
        command = ["setarch", "-R", *command]
    start = time.monotonic()
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, errors="replace", text=True,
                              timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return "hangs", "", TIMEOUT_S
    seconds = time.monotonic() - start
    if done.returncode == 0:
        passed = re.search(r"^\[  PASSED  \] [1-9]\d* test", done.stdout, re.M)
        skipped = "[  SKIPPED ]" in done.stdout
        return ("passes" if passed and not skipped else "runs no case"), done.stdout, seconds
    # A case failed, or a check that ends the program at once.
    found = (re.search(r"^\[  FAILED  \]|: Failure$|WARNING: ThreadSanitizer: data race|^cannot go on",
                       done.stdout, re.M) or done.returncode < 0)
    return ("fails" if found else f"exits with {done.returncode}"), done.stdout, seconds


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    rows = read_table()
    if len(sys.argv) > 1:
        rows = [row for row in rows if row[0] in sys.argv[1:]]
    passed = failed = 0

    def count(works, name, output):
        nonlocal passed, failed
        passed += works
        failed += not works
        if not works:
            print("\n".join(output.splitlines()[-30:]))
            print(f"bugs: FAILED {name}", flush=True)

    print(f"== bugs: {len(rows)}", flush=True)
    folders = {}
    for name in FLAGS:
        mine = [row for row in rows if row[2] == name]
        if mine:
            folders[name] = build(name, mine)
    sound = set()
    for bug, what, name, folder, target, case in rows:
        binary = os.path.join(folders[name], folder, target)
        check = f"//{folder}:{target} {case}"
        if (binary, case) not in sound:
            sound.add((binary, case))
            result, output, seconds = run(binary, case, "", name == "tsan")
            count(result == "passes", f"{check} without a bug {result}", output)
        result, output, seconds = run(binary, case, bug, name == "tsan")
        count(result == "fails", f"{check} with {bug} {result}", output)
        found = f"found in {seconds:.1f} s" if result == "fails" else "NOT FOUND"
        print(f"[bug] {bug:30} {found:16} by {check}: {what}", flush=True)
    print(f"bugs: passed {passed}, failed {failed}, skipped 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
