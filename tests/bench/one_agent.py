"""An agent for a measurement, and `mailrail bench` with it."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

SLICE_SECONDS = 0.5


class Agent:
    """A new agent, in a folder of its own; with, it runs."""

    def __init__(self, mailrail):
        self.mailrail = mailrail

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mailrail-scale-")
        self.socket = f"{self.folder.name}/agent.sock"
        with open(f"{self.folder.name}/log", "wb") as log:
            self.keeper = subprocess.Popen(
                [self.mailrail, "agent", "--node", "alpha", "--socket", self.socket],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while subprocess.run([self.mailrail, "ps", "--socket", self.socket], capture_output=True,
                             check=False).returncode != 0:
            if time.monotonic() > end or self.keeper.poll() is not None:
                raise RuntimeError(pathlib.Path(self.folder.name, "log").read_text())
            time.sleep(0.05)
        return self

    def __exit__(self, *error):
        self.keeper.terminate()
        self.keeper.wait()
        self.folder.cleanup()

    def pids(self):
        """The keeper, and the agent proper."""
        children = pathlib.Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children")
        return [self.keeper.pid, *map(int, children.read_text().split())]

    def memory_bytes(self):
        """What is touched of all shared memory: the keeper has a descriptor of each."""
        found = {}
        for entry in os.scandir(f"/proc/{self.keeper.pid}/fd"):
            try:
                if os.readlink(entry.path).startswith("/memfd:"):
                    status = os.stat(entry.path)
                    found[status.st_ino] = status.st_blocks * 512
            except FileNotFoundError:  # the descriptor of the folder itself, say
                continue
        return sum(found.values())

    def descriptors(self):
        return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())


def measure_rate(mailrail, agent, bench, *flags):
    answer = subprocess.run([mailrail, "bench", bench, "--seconds", str(SLICE_SECONDS), "-o",
                             "json", "--socket", agent.socket, *flags], capture_output=True,
                            text=True, check=True)
    return json.loads(answer.stdout)["results"][0]["rate"]
