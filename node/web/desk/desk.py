"""The operator's desk in the browser: histories that are brought in, and what was set aside."""

from collections.abc import Callable

from fastapi import Response

from node.query.retriever import Retriever
from node.settings import Settings
from node.web.desk.histories import Histories
from node.web.desk.set_aside import SetAsideDesk


def desk_routes(settings: Settings, retriever: Retriever) -> dict[str, Callable[..., Response]]:
    """Endpoint of each path of the desk."""
    return {**Histories(retriever.coverage).routes, **SetAsideDesk(settings, retriever.spool).routes}
