"""Quotas of associations, shared by processes."""

import subprocess
import sys
from pathlib import Path

from node.dicom.quotas import Quotas
from tests.support.running import REPOSITORY

HOLD = """
import sys
from pathlib import Path
from node.dicom.quotas import Quotas
quotas = Quotas(Path(sys.argv[1]), 5, 3)
held = [quotas.take("A") for _ in range(2)]
print(sum(slot is not None for slot in held), flush=True)
sys.stdin.read()
"""


def test_one_caller_gets_its_share_and_leaves_the_rest_to_others(tmp_path: Path) -> None:
    quotas = Quotas(tmp_path / "run" / "associations", total=5, each=3)

    of_a = [quotas.take("A") for _ in range(4)]
    of_b = [quotas.take("B") for _ in range(4)]

    assert [slot is not None for slot in of_a] == [True, True, True, False]
    assert [slot is not None for slot in of_b] == [True, True, False, False]


def test_a_slot_that_is_given_back_can_be_taken(tmp_path: Path) -> None:
    quotas = Quotas(tmp_path / "associations", total=1, each=1)
    slot = quotas.take("A")
    assert slot is not None
    assert quotas.take("B") is None

    slot.release()

    assert quotas.take("B") is not None


def test_processes_share_quotas_and_a_kill_frees_them(tmp_path: Path) -> None:
    path = tmp_path / "associations"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "2\n"
        quotas = Quotas(path, total=5, each=3)
        mine = [quotas.take("A") for _ in range(2)]
        assert [slot is not None for slot in mine] == [True, False]

        other.kill()
        other.wait()

    assert quotas.take("A") is not None
