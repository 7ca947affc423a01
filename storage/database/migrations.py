"""Databases of older formats, brought to the present one when their writer opens them."""

from dataclasses import replace

import lmdb
import numpy as np

from storage.database import lookup
from storage.database.append import term_number
from storage.database.columns import TERMS
from storage.database.header import FORMAT, HEADER, Header
from storage.database.tables import Tables, open_handles
from storage.record import Level
from storage.vault import CLEAR, Vault


def upgraded(environment: lmdb.Environment, header: Header, vault: Vault = CLEAR) -> Header:
    """The header of a database that is now of the present format; in one transaction, so that a kill changes nothing.

    Format 1 gets the column of manufacturers, and an empty table of the network's outputs; formats 1 to 3 get the index
    `lookup`, filled anew; every older format gets the empty tables that it lacks. Filling the index takes some ten
    seconds a million series, and a minute a million patients with a study each.
    """
    if header.format == FORMAT:
        return header
    newest = replace(header, format=FORMAT)
    with environment.begin(write=True, buffers=True) as transaction:
        handles = open_handles(environment, transaction)
        tables = Tables(transaction, handles, header.layout, vault)
        if header.format < 2:
            _add_manufacturers(tables)
        if header.format < 4:
            _fill_lookup(tables)
        transaction.put(HEADER, newest.to_bytes(), db=handles["meta"])
    return newest


def _add_manufacturers(tables: Tables) -> None:
    terms = {"": 0}
    numbers = np.zeros(tables.counter(Level.SERIES), np.uint16)
    for ordinal, series in tables.nodes(Level.SERIES):
        numbers[ordinal] = term_number("manufacturer", terms, TERMS["manufacturer"](series.attributes))
    tables.rows.fill("manufacturer", lambda block: numbers[block.column("series")])
    tables.set_terms("manufacturer", terms)


def _fill_lookup(tables: Tables) -> None:
    tables.lookup.clear()
    for level in (level for level, keywords in lookup.KEYWORDS.items() if keywords):
        for ordinal, node in tables.nodes(level):
            tables.lookup.replace(level, ordinal, None, node.attributes)
