"""Mutated inputs to every parser of what comes from outside: python -m tests.fuzz [--inputs N].

Parsers are fed in this process, compressed pixels go through the killable decode workers, and whole conversations to a
real node, which must answer C-ECHO in the end and have lost none of its processes. An outcome that is neither a value
nor one of the refusals a parser is meant to give is a fault: it is printed with the input that caused it, and the exit
status is 1. With --keep the shortest input of each outcome goes to a folder; every test run replays tests/fuzz/kept.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.conversing import conversations
from tests.fuzz.feeding import Fed, keep
from tests.fuzz.run import SHARES, run

ROUND: int = 20_000
"""Inputs of one round of a run that is limited by time."""


def main() -> None:
    """Feed every target its share, once or until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, help="rounds of 20,000 inputs until so much time is over")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder of the shortest inputs")
    options = parser.parse_args()
    inputs = ROUND if options.seconds else options.inputs
    counts = {target: round(inputs * share) for target, share in SHARES.items()}
    results: dict[str, Fed] = {}
    started_s, rounds = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as name:
        while not rounds or (options.seconds and time.monotonic() - started_s < options.seconds):
            folder = Path(name) / str(rounds)
            folder.mkdir()
            for target, fed in run(folder, counts, options.seed + rounds).items():
                results.setdefault(target, Fed()).merge(fed)
            rounds += 1
            _finish(results, f"{rounds} rounds from seed {options.seed}, {_spent()}", options.keep)
        talks = rounds * counts["conversations"]
        results["conversations"] = conversations(Path(name) / "node", talks, options.seed)
    _finish(results, f"{rounds} rounds from seed {options.seed}, {_spent()}", options.keep)
    print("the node answers C-ECHO, and none of its processes has ended")
    sys.exit(int(any(fed.faults for fed in results.values())))


def _spent() -> str:
    of_processes = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return f"{sum(used.ru_utime + used.ru_stime for used in of_processes):,.0f} s of processor time"


def _finish(results: Mapping[str, Fed], title: str, folder: Path | None) -> None:
    """Print what was found so far, and keep it."""
    _print(results, title)
    for target in results.keys() - {"compressed files", "conversations"} if folder is not None else ():
        keep(folder or Path(), target, results[target])


def _print(results: Mapping[str, Fed], title: str) -> None:
    table = Table("target", "inputs", "slowest ms", "outcomes", title=title)
    for target, fed in results.items():
        outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in fed.outcomes.most_common(8))
        table.add_row(target, f"{fed.inputs:,}", f"{fed.slowest_s * 1e3:.0f}", outcomes)
    console = Console(width=160)
    console.print(table)
    for target, fed in results.items():
        for fault, octets in fed.faults.items():
            console.print(f"FAULT of {target}:\n{fault}input {octets.hex()}", markup=False, soft_wrap=True)
    total, faults = (sum(fed.inputs for fed in results.values()), sum(len(fed.faults) for fed in results.values()))
    console.print(f"{total:,} inputs, {faults} faults")


if __name__ == "__main__":
    main()
