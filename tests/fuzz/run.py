#!/usr/bin/env python3
"""Builds the fuzz targets with libFuzzer, ASan and UBSan, and runs each for some time, two at once.

  tests/fuzz/run.py [--seconds N] [--keep] [TARGET...]

  --seconds N  how long each target runs (60)
  --keep       then puts what covers most into the corpus of the tree, in place of what is there:
               inputs with names of words stay, of the others so many that there are 30

Prints a line for each target, and at the end "fuzz: passed N, failed N, skipped N". An input that
breaks a promise is left in fuzz-findings/TARGET. Exits with 1 if anything was found.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

FLAGS = ["--config=fuzz"]
MOST_FILES = 30
MOST_BYTES = 4095
AT_ONCE = 2
# Entropic scheduling costs more than the targets do.
OPTIONS = [f"-max_len={MOST_BYTES}", "-entropic=0", "-timeout=20", "-rss_limit_mb=2048",
           "-print_final_stats=1"]


def all_targets():
    with open("tests/fuzz/BUILD.bazel", encoding="utf-8") as file:
        table = file.read().split("_TARGETS = {", 1)[1].split("\n}\n", 1)[0]
    return re.findall(r'^    "(\w+)": \[', table, re.M)


def build(targets):
    """Returns the folder of what was built."""
    progress = [] if sys.stdout.isatty() else ["--show_progress_rate_limit=60"]
    subprocess.run(["bazel", "build", *FLAGS, *progress, *[f"//tests/fuzz:{t}" for t in targets]],
                   check=True)
    out = subprocess.run(["bazel", "info", *FLAGS, "bazel-bin"], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return os.path.join(out.stdout.strip(), "tests/fuzz")


def environment():
    return dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1", LD_BIND_NOW="1")


def run(binary, target, seconds, grown):
    """Returns (whether nothing was found, the line for it, its output)."""
    findings = f"fuzz-findings/{target}"
    shutil.rmtree(findings, ignore_errors=True)
    os.makedirs(findings)
    command = [binary, *OPTIONS, f"-max_total_time={seconds}", f"-artifact_prefix={findings}/",
               grown, f"tests/fuzz/corpus/{target}"]
    os.makedirs(f"tests/fuzz/corpus/{target}", exist_ok=True)
    try:
        done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, errors="replace", text=True,
                              timeout=seconds + 120, check=False)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as expired:
        output, code = (expired.stdout or b"").decode(errors="replace"), "no end"
    executed = re.findall(r"number_of_executed_units:\s*(\d+)", output)
    speed = re.findall(r"average_exec_per_sec:\s*(\d+)", output)
    covered = re.findall(r"cov: (\d+) ft: (\d+)", output)
    found = os.listdir(findings)
    if not found:
        os.rmdir(findings)
    sound = code == 0 and not found and bool(executed) and int(executed[-1]) > 0
    what = "nothing found" if sound else f"FOUND {findings}/{found[0]}" if found else f"exit {code}"
    count = executed[-1] if executed else "?"
    edges, features = covered[-1] if covered else ("?", "?")
    line = (f"[fuzz] {target:14} {count:>9} executions, {speed[-1] if speed else '?':>6} per second, "
            f"{features:>6} features in {edges:>5} places: {what}")
    return sound, line, output


def keep(binary, target, grown):
    """Replaces what the tree has, but for inputs that somebody gave a name."""
    corpus = f"tests/fuzz/corpus/{target}"
    named = [name for name in os.listdir(corpus) if not re.fullmatch(r"[0-9a-f]{40}", name)]
    with tempfile.TemporaryDirectory() as merged:
        for name in named:
            shutil.copy(f"{corpus}/{name}", merged)
        subprocess.run([binary, *OPTIONS, "-set_cover_merge=1", merged, corpus, grown],
                       env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=True)
        # The largest do the most.
        new = sorted(set(os.listdir(merged)) - set(named),
                     key=lambda name: -os.path.getsize(f"{merged}/{name}"))
        for name in set(os.listdir(corpus)) - set(named):
            os.remove(f"{corpus}/{name}")
        for name in new[:MOST_FILES - len(named)]:
            shutil.copy(f"{merged}/{name}", corpus)
    print(f"{target}: {len(os.listdir(corpus))} of {len(new) + len(named)} inputs", flush=True)


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    arguments = parser.parse_args()
    targets = arguments.targets or all_targets()
    print(f"== fuzz: {len(targets)} targets, {arguments.seconds} s each", flush=True)
    folder = build(targets)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch, \
            concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        grown = {}
        for target in targets:
            grown[target] = os.path.join(scratch, target)
            os.makedirs(grown[target])
        runs = {target: pool.submit(run, f"{folder}/{target}", target, arguments.seconds,
                                    grown[target]) for target in targets}
        for target, result in runs.items():
            sound, line, output = result.result()
            print(line, flush=True)
            passed += sound
            failed += not sound
            if not sound:
                print("\n".join(output.splitlines()[-60:]))
                print(f"fuzz: FAILED {target}", flush=True)
            elif arguments.keep:
                keep(f"{folder}/{target}", target, grown[target])
    print(f"fuzz: passed {passed}, failed {failed}, skipped 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
