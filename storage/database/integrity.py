"""The invariants of a database: what holds in every committed state, whichever process was killed when."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashing.codes import prefix, unpack
from storage.database.blocks import CODES
from storage.database.columns import COLUMNS, DELETED, FIRST, LEVEL_COLUMN, NUMBERS, TERMS
from storage.database.lookup import TABLE as LOOKUP
from storage.database.lookup import lookup_keys
from storage.database.tables import OF_FRAMES, Tables
from storage.database.tree import NO_PARENT, Node
from storage.record import LEVELS, Level

Columns = dict[str, NDArray[Any]]


def problems(tables: Tables, code_length: int) -> Iterator[str]:
    """Yield every violated invariant, each as one sentence without patient data."""
    yield from _count_problems(tables)
    damaged = list(_block_problems(tables, code_length))
    yield from damaged
    for level in LEVELS:
        for ordinal, node in tables.nodes(level):
            for problem in _entity_problems(tables, level, ordinal, node):
                yield f"{level} {ordinal}: {problem}"
    columns = {name: _whole(tables, name) for name in COLUMNS}
    if all(len(column) == tables.rows.count for column in columns.values()):
        yield from _row_problems(tables, columns)
    yield from _frame_problems(tables)
    yield from _rejection_problems(tables)
    if not damaged:
        yield from _output_problems(tables, code_length)


def _block_problems(tables: Tables, code_length: int) -> Iterator[str]:
    """Yield what is wrong with the number of rows of blocks, and with the bits of codes."""
    for block in tables.rows.blocks():
        for name in (CODES, *COLUMNS):
            found = tables.rows.read(name, block.number).shape[1]
            if found != block.rows:
                yield f"block {block.number} of {name} has {found} rows, not {block.rows}"
        codes = block.codes.T
        if not np.array_equal(codes, prefix(codes, code_length)):
            yield f"block {block.number} has codes longer than {code_length} bits"


def _count_problems(tables: Tables) -> Iterator[str]:
    """Yield each table whose number of entries differs from the number of entities or rows."""
    expected = {"rows": sum(1 for _ in tables.rows.blocks()) * (len(COLUMNS) + 1)}
    for above, level in zip((None, *LEVELS), LEVELS, strict=False):
        expected[f"{level}:keys"] = tables.entries(level)
        if above is not None:
            expected[f"{above}:children"] = tables.entries(level)
    expected[LOOKUP] = sum(
        len(lookup_keys(level, node.attributes)) for level in LEVELS for _, node in tables.nodes(level)
    )
    for table, entries in expected.items():
        if tables.entries(table) != entries:
            yield f"table {table} has {tables.entries(table)} entries where {entries} are expected"


def _entity_problems(tables: Tables, level: Level, ordinal: int, node: Node) -> Iterator[str]:
    """Yield what is wrong with the keys and the parent of an entity."""
    if tables.ordinal(level, node.uid) != ordinal:
        yield "its key leads elsewhere"
    if ordinal >= tables.counter(level):
        yield "its ordinal is still to be given"
    if not all(tables.lookup.has(key, ordinal) for key in lookup_keys(level, node.attributes)):
        yield "it cannot be looked up by its attributes"
    if level != Level.IMAGE and not tables.children(level, ordinal):
        yield "it is empty"
    if level == Level.PATIENT:
        return
    above = LEVELS[LEVELS.index(level) - 1]
    if node.parent == NO_PARENT or tables.node(above, node.parent) is None:
        yield "its parent is missing"
    elif not tables.has_child(above, node.parent, ordinal):
        yield "its parent does not know it"


def _row_problems(tables: Tables, columns: Columns) -> Iterator[str]:
    """Yield each column of an instance that does not follow from its record."""
    terms = {name: tables.terms(name) for name in TERMS}
    live = 0
    for ordinal, node in tables.nodes(Level.IMAGE):
        live += len(node.frames)
        if node.frames and not 0 <= node.first_row <= tables.rows.count - len(node.frames):
            yield f"IMAGE {ordinal}: its rows are missing"
            continue
        expected = _expected(tables, ordinal, node)
        for name, column in columns.items():
            if name == "pixel_digest":
                continue
            values = [terms[name][value] for value in column[node.rows]] if name in TERMS else list(column[node.rows])
            if values != expected[name]:
                yield f"IMAGE {ordinal}: column {name} does not follow from its record"
    if live != np.count_nonzero(columns["flags"] & DELETED == 0):
        yield f"{live} frames have records, but other rows are not marked deleted"


def _expected(tables: Tables, ordinal: int, node: Node) -> dict[str, list[Any]]:
    """Return the values of the columns of an instance, computed from its record."""
    lineage = tables.lineage(Level.IMAGE, ordinal)
    attributes: dict[str, str] = {}
    for level in LEVELS:
        attributes.update(lineage[level][1].attributes)
    n = len(node.frames)
    same = {name: derive(attributes) for name, derive in (*NUMBERS.items(), *TERMS.items())}
    same |= {LEVEL_COLUMN[level]: lineage[level][0] for level in LEVELS}
    expected: dict[str, list[Any]] = {name: [value] * n for name, value in same.items()}
    return expected | {"frame": list(node.frames), "flags": [FIRST] * min(n, 1) + [0] * (n - 1)}


def _frame_problems(tables: Tables) -> Iterator[str]:
    for table in OF_FRAMES:
        for ordinal, frame in tables.framed(table):
            node = tables.node(Level.IMAGE, ordinal)
            if node is None or frame not in node.frames:
                yield f"IMAGE {ordinal}: {table} of frame {frame} have no row"


def _rejection_problems(tables: Tables) -> Iterator[str]:
    """A rejected instance must be in no answer, and what is kept of one must belong to a rejection."""
    for uid, rejection in tables.rejections.all():
        ordinal = tables.ordinal(Level.IMAGE, uid)
        node = None if ordinal is None else tables.node(Level.IMAGE, ordinal)
        if node is not None and rejection.holds(node.received_ns):
            yield f"IMAGE {ordinal}: it is rejected, and stored all the same"
    for uid in tables.rejections.all_withheld():
        rejection_of = tables.rejections.find(uid)
        if rejection_of is None or not rejection_of.hides:
            yield f"instance {uid} is kept beside the others, and nothing hides it"


def _output_problems(tables: Tables, code_length: int) -> Iterator[str]:
    """Codes must be the signs of the outputs beside them; an output of 0 fits either bit."""
    for ordinal, node in tables.nodes(Level.IMAGE):
        stored = [
            (row, outputs) for row, outputs in _kept_outputs(tables, ordinal, node) if 0 <= row < tables.rows.count
        ]
        if any(len(outputs) < code_length for _, outputs in stored):
            yield f"IMAGE {ordinal}: its outputs are cut short"
        elif stored:
            bits = unpack(tables.rows.gather(CODES, np.array([row for row, _ in stored])).T, code_length)
            relaxed = np.array([outputs[:code_length] for _, outputs in stored])
            if ((relaxed > 0) & ~bits | (relaxed < 0) & bits).any():
                yield f"IMAGE {ordinal}: its codes are not the signs of its outputs"


def _kept_outputs(tables: Tables, ordinal: int, node: Node) -> Iterator[tuple[int, NDArray[np.int8]]]:
    for row, frame in zip(node.rows.tolist(), node.frames, strict=True):
        outputs = tables.outputs(ordinal, frame)
        if outputs is not None:
            yield row, outputs


def _whole(tables: Tables, name: str) -> NDArray[Any]:
    parts = [np.empty(0, COLUMNS[name]), *(block.column(name) for block in tables.rows.blocks())]
    return np.concatenate(parts)
