"""What a process loads before it does anything, which every command and every restart waits for."""

import subprocess
import sys

import pytest

SCRIPT = "import sys, {}; print(*sorted({{'numba', 'torch', 'SimpleITK', 'openvino'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    ("modules", "loaded"),
    [
        ("node.cli.main", ""),
        ("node.cli.main, node.roles.supervisor", ""),
        ("node.cli.main, node.roles.application, node.roles.dicom", "numba"),
    ],
    ids=["command line", "supervisor", "receiver"],
)
def test_a_process_loads_no_library_that_it_does_not_use(modules: str, loaded: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(modules)], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == loaded
