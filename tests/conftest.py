"""What several test modules share."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images beside the checkout; the test is skipped where it is not there."""
    if not (SHARED_DATA / "README.md").is_file():
        pytest.skip(f"no real images at {SHARED_DATA}: this check needs them, the others do not")
    return SHARED_DATA
