#!/usr/bin/env python3
"""Counts the test cases of one `bazel test`, from the file that --build_event_json_file wrote.

A GoogleTest binary counts as its cases. Another test counts as the lines "[case] ok NAME" and
"[case] FAILED NAME" in its output, or as one case if it has none. A test that failed outside its
cases (crashed, timed out, leaked, did not build) counts as one failed case more.

Prints a line per case that failed or was skipped, and at the end
"LABEL: passed N, failed N, skipped N".
"""

import argparse
import json
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections import namedtuple

Case = namedtuple("Case", ["name", "outcome"])  # outcome: "ok", "FAILED" or "skipped"

CASE_LINE = re.compile(r"^\[case\] (ok|FAILED) (.*\S)\s*$", re.MULTILINE)


def read_events(path):
    """Returns ({(label, shard, run): its last attempt's event}, labels of all test targets)."""
    results = {}
    targets = set()
    with open(path, encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            key = event.get("id", {})
            if "testResult" in key and "testResult" in event:
                identity = key["testResult"]
                where = (identity["label"], identity.get("shard", 0), identity.get("run", 0))
                results[where] = event["testResult"]
            elif "targetConfigured" in key:
                if event.get("configured", {}).get("testSize"):
                    targets.add(key["targetConfigured"]["label"])
    return results, targets


def outputs(result):
    """Returns {"test.log": path, "test.xml": path} of one run of a test."""
    return {
        output["name"]: urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
        for output in result.get("testActionOutput", [])
    }


def gtest_cases(xml_path):
    """Returns the cases in GoogleTest's report, or None if this is not one."""
    try:
        root = ElementTree.parse(xml_path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    if root.get("name") != "AllTests":
        return None
    cases = []
    for case in root.iter("testcase"):
        if case.get("status") == "notrun":  # Disabled, or filtered out.
            continue
        outcome = "ok"
        if case.find("failure") is not None:
            outcome = "FAILED"
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            outcome = "skipped"
        cases.append(Case(f"{case.get('classname')}.{case.get('name')}", outcome))
    return cases


def log_cases(log_path):
    """Returns the cases that a test reports in its output."""
    try:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            return [Case(name, outcome) for outcome, name in CASE_LINE.findall(log.read())]
    except OSError:
        return []


def cases_of(result):
    """Returns the cases of one run of a test."""
    files = outputs(result)
    succeeded = result.get("status") in ("PASSED", "FLAKY")
    cases = gtest_cases(files.get("test.xml", ""))
    if cases is None:
        cases = log_cases(files.get("test.log", ""))
        if not cases and succeeded:
            cases = [Case("(whole test)", "ok")]
    if not succeeded and not any(case.outcome == "FAILED" for case in cases):
        cases.append(Case(f"(whole test: {result.get('status')})", "FAILED"))
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--label", required=True, help="what to call this run in the output")
    parser.add_argument("--status", type=int, default=0, help="Bazel's, if it could not build")
    parser.add_argument("events")
    arguments = parser.parse_args()

    count = {"ok": 0, "FAILED": 0, "skipped": 0}

    def add(label, case):
        count[case.outcome] += 1
        if case.outcome != "ok":
            print(f"{arguments.label}: {case.outcome} {label} {case.name}")

    try:
        results, targets = read_events(arguments.events)
    except (OSError, ValueError):
        results, targets = {}, set()
    for (label, _, _), result in sorted(results.items(), key=lambda item: item[0]):
        for case in cases_of(result):
            add(label, case)
    for label in sorted(targets - {label for label, _, _ in results}):
        add(label, Case("(did not build)", "FAILED"))
    if arguments.status != 0 and count["FAILED"] == 0:
        add("bazel", Case(f"(exit code {arguments.status})", "FAILED"))

    print(f"{arguments.label}: passed {count['ok']}, failed {count['FAILED']}, "
          f"skipped {count['skipped']}")


if __name__ == "__main__":
    main()
