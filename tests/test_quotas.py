"""Places for associations, shared by processes."""

import subprocess
import sys
from pathlib import Path

from node.dicom.quotas import Places
from tests.running import REPOSITORY

HOLD = """
import sys
from pathlib import Path
from node.dicom.quotas import Places
places = Places(Path(sys.argv[1]), 5, 3)
held = [places.take("A") for _ in range(2)]
print(sum(place is not None for place in held), flush=True)
sys.stdin.read()
"""


def test_one_caller_gets_its_share_and_leaves_the_rest_to_others(tmp_path: Path) -> None:
    places = Places(tmp_path / "run" / "associations", total=5, each=3)

    of_a = [places.take("A") for _ in range(4)]
    of_b = [places.take("B") for _ in range(4)]

    assert [place is not None for place in of_a] == [True, True, True, False]
    assert [place is not None for place in of_b] == [True, True, False, False]


def test_a_place_that_is_given_back_can_be_taken(tmp_path: Path) -> None:
    places = Places(tmp_path / "associations", total=1, each=1)
    place = places.take("A")
    assert place is not None
    assert places.take("B") is None

    place.release()

    assert places.take("B") is not None


def test_processes_share_places_and_a_kill_frees_them(tmp_path: Path) -> None:
    path = tmp_path / "associations"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "2\n"
        places = Places(path, total=5, each=3)
        mine = [places.take("A") for _ in range(2)]
        assert [place is not None for place in mine] == [True, False]

        other.kill()
        other.wait()

    assert places.take("A") is not None
