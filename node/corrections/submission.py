"""A command's order: carried out by the running node, or by the command itself where no node runs."""

import time
from threading import Event
from typing import Final

from node.corrections.corrector import Corrector
from node.corrections.order_book import Answer, OrderBook, OrderKind
from node.errors import NodeError
from node.home import open_for_writing, open_mail, open_objects, open_regions, open_reports, open_spool
from node.locks import InUseError
from node.processes import Role, role_lock, role_state
from node.settings import Settings

LOOK_S: Final = 0.05


class OrderFailedError(NodeError):
    """An order could not be carried out; the log of the role `index` says why."""


def submit(settings: Settings, kind: OrderKind, **fields: object) -> Answer:
    """Have an order carried out, however long that takes, and return what it did.

    The order is durable from the first moment: if this process ends, the node carries it out when it runs.

    Raises
    ------
    OrderFailedError
        It cannot be carried out.
    """
    orders = OrderBook(settings.corrections_path)
    name = orders.put(kind, **fields)
    while (answer := orders.take_answer(name)) is None:
        if role_state(settings, Role.INDEX).running or not _carry_out(settings, orders):
            time.sleep(LOOK_S)
    if "error" in answer:
        raise OrderFailedError(
            f"the order failed ({answer['error']}): it is kept in {settings.corrections_path}/failed"
        )
    return answer


def _carry_out(settings: Settings, orders: OrderBook) -> bool:
    """Be the writer of the database for a moment; False if another process is."""
    try:
        with role_lock(settings, Role.INDEX), open_for_writing(settings) as database:
            spool, objects = open_spool(settings), open_objects(settings)
            reports, mail = open_reports(settings), open_mail(settings)
            regions = open_regions(settings)
            corrector = Corrector(database, orders, spool, objects, reports=reports, mail=mail, regions=regions)
            return corrector.carry_out_all(Event())
    except InUseError:
        return False
