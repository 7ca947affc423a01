"""Processes that end with the one that started them."""

import os
import signal
import subprocess
import sys
import time

import psutil

from node.processes import Role

CHILD = "from node.processes import die_with_parent; import time; die_with_parent({parent}); print(); time.sleep(60)"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_process_ends_when_its_parent_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, CHILD.format(parent="__import__('os').getppid()")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))

        parent.kill()

        deadline = time.monotonic() + 10
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_process_whose_parent_died_while_it_was_starting_ends_at_once() -> None:
    died_long_ago = os.getppid()

    ended = subprocess.run([sys.executable, "-c", CHILD.format(parent=died_long_ago)], timeout=120, check=False)

    assert ended.returncode == -signal.SIGKILL


def test_a_role_whose_supervisor_died_while_it_was_starting_ends_at_once() -> None:
    command = [sys.executable, "-m", "node", "role", Role.WEB, "--supervisor", str(os.getppid())]

    ended = subprocess.run(command, timeout=240, check=False)

    assert ended.returncode == -signal.SIGKILL
