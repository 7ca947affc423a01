"""What the node consists of is written down, and whether it is known to be vulnerable is never claimed unasked."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import REPOSITORY, run_peer

AUDIT = REPOSITORY / ".ci" / "audit"
GOOD: dict[str, Any] = {"name": "good", "version": "1", "vulns": []}
BAD: dict[str, Any] = {"name": "bad", "version": "1", "vulns": [{"id": "CVE-2026-1"}]}
UNKNOWN: dict[str, Any] = {"name": "unknown", "skip_reason": "not found"}


def audited(folder: Path, packages: list[dict[str, Any]] | None) -> tuple[int, str]:
    """Exit status and words of an audit whose service reports on packages; None: it does not answer."""
    program, report = folder / "pip-audit", folder / "report.json"
    write = "" if packages is None else f"open(sys.argv[-1], 'w').write({json.dumps({'dependencies': packages})!r})"
    program.write_text(f"#!{sys.executable}\nimport sys\n{write}\nprint('no route', file=sys.stderr)\n")
    program.chmod(0o700)
    run = run_peer(sys.executable, AUDIT, program, folder, report, check=False)
    return run.returncode, run.stdout.strip()


def test_a_known_vulnerability_fails(tmp_path: Path) -> None:
    assert audited(tmp_path, [GOOD, BAD, UNKNOWN]) == (
        1, "VULNERABLE: bad: CVE-2026-1\n2 of 3 packages audited, 1 with known vulnerabilities",
    )  # fmt: skip


@pytest.mark.parametrize(("packages", "words"), [(None, "no route"), ([UNKNOWN], "none of 1 packages")])
def test_what_nobody_could_be_asked_about_is_not_called_good(
    tmp_path: Path, packages: list[dict[str, Any]] | None, words: str
) -> None:
    status, said = audited(tmp_path, packages)

    assert status == 0
    assert said.startswith("NOT AUDITED: ")
    assert words in said


def test_packages_that_are_known_and_good_pass(tmp_path: Path) -> None:
    assert audited(tmp_path, [GOOD]) == (0, "1 of 1 packages audited, 0 with known vulnerabilities")
