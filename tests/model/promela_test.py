#!/usr/bin/env python3
"""Checks every model with spin, and that each mutant of it fails.

A case is a model under one set of definitions, or a mutant: the model with one step left out, or in
another place (#ifdef MUTANT_... in the model). All states are visited, with partial order reduction
and nothing approximate; a search that is cut off by its bounds of depth or memory fails.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
MEMORY_MB = 2500  # of one search

# Definitions as "NAME=value NAME ...".
Model = namedtuple("Model", ["name", "file", "definitions", "mutants"])

MODELS = [
    Model("inbox bell", "bell", "SOLE=1", [
        "AWAKE_IS_LATEST_PARK", "CHECK_BEFORE_PUBLISH", "CLEARED_FOR_LATER_PARKS",
        "FENCED_BY_STORE", "GATE_READ_AFTER_LOOK", "NO_BARRIER", "NO_LOOK_AFTER_STREAM",
        "NO_LOOK_AGAIN", "RUNG_READ_AFTER_RING", "STREAMS_IS_A_FLAG",
        "STREAMS_READ_BEFORE_PARKS", "STREAMS_UNSAID"]),
    Model("inbox bell, its sender fails", "bell", "SOLE=1 SENDER_FAILS", ["AGENT_DOES_NOT_RING"]),
    Model("inbox bell, two senders", "bell", "SOLE=1 SENDERS=2 MESSAGES_OF_SECOND=1",
          ["STREAMS_LOWERED"]),
    Model("mailbox bell, a receiver fails", "bell", "SOLE=0 RECEIVERS=2 RECEIVER_FAILS MESSAGES=2",
          ["CLEARED_BEFORE_BARRIER"]),
    Model("mailbox lane, a message is given back", "cell", "MESSAGES=3 GIVEN_BACK=1", [
        "CLAIM_WITHOUT_COMPARE", "ENTRY_BEFORE_SLOT", "SLOT_READ_BEFORE_STATE",
        "SLOT_USED_BEFORE_DONE", "TAKEN_BEFORE_COPY"]),
    Model("mailbox lane, messages are given back", "cell", "MESSAGES=2 GIVEN_BACK=2", [
        "RETURNS_SETTLED_BY_A_FIND"]),
    Model("mailbox lane, a receiver fails", "cell", "MESSAGES=3 GIVEN_BACK=0 FAILS", [
        "DEATH_WITHOUT_RETURNS", "DONE_BEFORE_COPY", "RETURNS_BUMPED_ONCE"]),
    Model("mailbox lane, a receiver fails that gives back", "cell",
          "MESSAGES=2 GIVEN_BACK=1 FAILS", []),
    Model("receipts that are kept, who tells them fails", "receipt",
          "KEEPS=1 CRASHES=2 RECEIVER_FAILS", [
        "END_OF_THE_MESSAGE_BEFORE", "FORGOTTEN_BEFORE_TOLD", "LEASED_IS_AN_END",
        "OWNER_LOST_AT_DEATH", "POSITION_NOT_COMPARED", "RECEIPT_BEFORE_POSITION",
        "USED_BEFORE_FORGOTTEN"]),
    Model("receipts of a process", "receipt", "KEEPS=0 CRASHES=0 RECEIVER_FAILS", [
        "END_NOT_READ"]),
    Model("room", "room", "NEEDED=1 FAILS", [
        "GATE_READ_AFTER_LOOK", "GIVEN_BY_STORE", "NO_LOOK_AGAIN", "PARKS_READ_BEFORE_GIVING",
        "RUNG_NOTED_BEFORE_RINGING"]),
    Model("room, one slot is not enough", "room", "NEEDED=2 FAILS", ["RUNG_IS_LATEST_PARK"]),
    Model("ring, its sender fails", "ring", "", [
        "CONSUMED_BEFORE_COPY", "HEAD_BEFORE_BODY", "NO_LINE_IS_LEFT", "NO_TAIL",
        "NO_TAIL_AFTER_RECOVERY", "NO_ZERO_AHEAD", "ZERO_AFTER_PUBLISH"]),
    Model("a ring that grows, its sender fails", "grow", "", [
        "NO_LINE_IS_LEFT", "NO_TAIL_AT_PADDING", "NO_TAIL_AT_PADDING_AFTER_RECOVERY",
        "NO_ZERO_AT_START", "PADDING_BEFORE_ZERO", "PADDING_ENDS_THE_WALK", "ROUND_WITHOUT_ROOM",
        "TOO_SMALL_TO_GO_ROUND"]),
    Model("leases that expire", "lease", "", [
        "ANY_OUTCOME", "EXPIRED_UNMARKED", "GIVEN_BACK_UNMARKED", "GONE_UNMARKED",
        "OUTCOME_BY_MESSAGE"]),
    Model("a receiver that is gone and runs", "gone", "", [
        "NO_LOOK_AFTER_CLAIM", "NO_OWNER", "NO_SEQUENCE", "RELEASED_BEFORE_GONE"]),
    Model("the exclusive right moves", "exclusive", "", [
        "GRANTED_BEFORE_RELEASED", "NO_LOOK_AFTER_CLAIM", "NO_OWNER", "RELEASED_BEFORE_WITHDRAWN"]),
    Model("closing", "close", "", [
        "CLOSED_READ_BEFORE_PUBLISH", "COUNTED_BEFORE_CLOSED", "NOT_TAKEN_BACK", "NO_BARRIER",
        "TAKEN_BACK_WITHOUT_COMPARE"]),
    Model("joining", "join", "", [
        "GRANT_BEFORE_VERSION", "NO_LOOK_AFTER_JOIN", "NO_SECOND_LOOK", "NO_VERSION",
        "VERSION_AFTER_GRANT_AND_NOTICE", "VERSION_READ_BEFORE_CANDIDATE"]),
    Model("barrier", "barrier", "GENERATIONS=2 LEAVES=1", [
        "ARRIVED_LOOKS_AGAIN", "GIVEN_UP_AS_NEW", "GIVEN_UP_BEFORE_CHANGES",
        "NO_SECOND_LOOK_AT_GENERATION", "NOTHING_CHANGES", "WHO_LEAVES_COUNTS"]),
    Model("barrier, a party fails", "barrier", "GENERATIONS=2 LEAVES=0 FAILS", []),
    Model("semaphore", "semaphore", "", [
        "GATE_READ_AFTER_LOOK", "NOTHING_PASSED_ON", "NO_FLAG_AGAIN", "NO_LOOK_AGAIN",
        "SLEEPERS_READ_BEFORE_FREED"]),
    Model("semaphore, somebody fails", "semaphore", "FAILS", ["AGENT_DOES_NOT_WAKE"]),
    Model("mutex", "semaphore", "GIVEN_BACK", ["SAID_ONLY_WHILE_HELD"]),
    Model("mutex, somebody fails", "semaphore", "GIVEN_BACK FAILS", []),
    Model("snapshot", "snapshot", "", [
        "LAST_WORD_AFTER_SECOND_LOOK", "NEXT_WORD_BEFORE_NUMBER", "NO_SECOND_LOOK",
        "NUMBER_BEFORE_LAST_WORD", "NUMBER_BEFORE_WORDS", "ONE_VERSION_MORE",
        "SECOND_LOOK_BEFORE_COPY", "TWO_WRITERS"]),
    Model("snapshot, its writer fails", "snapshot", "FAILS", ["HEIR_SKIPS_A_VERSION"]),
    Model("second look", "look", "", [
        "CLAIM_WITHOUT_COMPARE", "LOST_CLAIM_TAKES_THE_NEXT", "NO_SECOND_LOOK",
        "ONE_SECOND_LOOK"]),
]

Case = namedtuple("Case", ["model", "mutant"])  # mutant: None for the model itself
Result = namedtuple("Result", ["case", "error", "states", "seconds"])  # error: None if all is well


def name_of(case):
    return f"{case.model.name}: " + (
        f"mutant {case.mutant.lower()}" if case.mutant else "nothing goes wrong")


def run(command, directory, seconds=240):
    return subprocess.run(command, cwd=directory, text=True, timeout=seconds, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def check(case):
    """Returns what is wrong with the case, or None; and how many states there were."""
    definitions = ["-D" + each for each in case.model.definitions.split()]
    if case.mutant:
        definitions.append("-DMUTANT_" + case.mutant)
    with tempfile.TemporaryDirectory() as directory:
        made = run(["spin", "-a", *definitions, f"{HERE}/{case.model.file}.pml"], directory)
        if made.returncode != 0 or not os.path.exists(f"{directory}/pan.c"):
            return "spin: " + made.stdout, 0
        # A mutant fails soon, so that what takes longest is the compiler; and sooner when processes
        # take turns in the other order.
        options = ["-O0", "-DREVERSE"] if case.mutant else ["-O2"]
        built = run(["gcc", *options, "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MB}", "-o", "pan",
                     "pan.c"], directory)
        if built.returncode != 0:
            return "gcc: " + built.stdout, 0
        # -E: a process that waits for ever is no error by itself; the model's Watch says what is.
        output = run(["./pan", "-E", "-m1000000"], directory).stdout
        errors = re.search(r"errors: (\d+)", output)
        states = re.search(r"(\d+) states, stored", output)
        if errors is None or states is None:
            return "no result: " + output, 0
        states = int(states.group(1))
        failed = errors.group(1) != "0"
        # Not an end that something else has brought about.
        asserted = "assertion violated" in output
        cut_off = re.search(r"max search depth too small|out of memory|memory limit", output)
        if case.mutant:
            return (None if failed and asserted else "it passes, and must not"), states
        if failed:
            trail = run(["./pan", "-r", "-E"], directory).stdout
            return output + trail[-6000:], states
        return ("not all states were visited: " + output if cut_off else None), states


def check_and_time(case):
    begin = time.monotonic()
    try:
        error, states = check(case)
    except subprocess.TimeoutExpired as expired:
        error, states = str(expired), 0
    return Result(case, error, states, time.monotonic() - begin)


def all_cases():
    cases = []
    for model in MODELS:
        cases.append(Case(model, None))
        cases.extend(Case(model, mutant) for mutant in model.mutants)
    return cases


def unlisted_mutants():
    """Mutants in the models that no case is made of."""
    listed = {(model.file, mutant) for model in MODELS for mutant in model.mutants}
    found = set()
    for file in {model.file for model in MODELS}:
        with open(f"{HERE}/{file}.pml", encoding="utf-8") as text:
            found |= {(file, mutant) for mutant in re.findall(r"MUTANT_(\w+)", text.read())}
    return sorted(found ^ listed)


def write_report(results, path):
    """In GoogleTest's form, of which tests/support/count_cases.py counts the cases."""
    root = ElementTree.Element("testsuites", name="AllTests")
    suite = ElementTree.SubElement(root, "testsuite", name="Promela")
    for result in results:
        case = ElementTree.SubElement(suite, "testcase", classname="Promela", status="run",
                                      name=name_of(result.case), time=f"{result.seconds:.3f}")
        if result.error is not None:
            ElementTree.SubElement(case, "failure", message=result.error[:200])
    ElementTree.ElementTree(root).write(path)


def main():
    unlisted = unlisted_mutants()
    if unlisted:
        print(f"not both in a model and in the table: {unlisted}")
        return 1
    cases = [case for case in all_cases() if all(word in name_of(case) for word in sys.argv[1:])]
    results = []
    # The large ones one after another, for their memory.
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as mutants, \
            concurrent.futures.ThreadPoolExecutor(max_workers=1) as models:
        pending = [(mutants if case.mutant else models).submit(check_and_time, case)
                   for case in cases]
        for done in pending:
            result = done.result()
            results.append(result)
            print(f"[case] {'ok' if result.error is None else 'FAILED'} {name_of(result.case)}",
                  f"({result.states} states, {result.seconds:.1f} s)", flush=True)
            if result.error is not None:
                print(result.error)
    states = sum(result.states for result in results)
    mutants = sum(result.case.mutant is not None for result in results)
    print(f"[models] {len(results) - mutants} models, {mutants} mutants, {states} states")
    report = os.environ.get("XML_OUTPUT_FILE")
    if report:
        write_report(results, report)
    return 0 if all(result.error is None for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
