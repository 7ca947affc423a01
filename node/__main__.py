"""`python -m node` is the command `lookalike`; roles are started by the path of this file."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[1])


def search_safely(root: str = ROOT) -> None:
    """Take the working directory off the module path: whoever can write there would run code as this user."""
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory with -m, else the folder of this file
    if root not in sys.path:  # run from a checkout that is not installed
        sys.path.insert(0, root)


if __name__ == "__main__":
    search_safely()
    from node.cli.main import main

    main()
