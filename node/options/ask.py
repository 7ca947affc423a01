"""Settings of questions that are sent, and of their answers."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AskSettings(BaseSettings):
    """The part of `node.settings.Settings` that concerns questions that are sent."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    example_limit_s: float = Field(30, gt=0)
    """Seconds in which the example of a query must be decoded, where it is posted or a region of an image."""
    ask_matches: int = Field(6, ge=1, le=60)
    """Number of similar cases in the answer to a question that was sent; one of each patient."""
    ask_capacity: int = Field(1000, ge=1)
    """Number of questions that may wait for their answers; senders then get A700."""
    ask_keep_s: float = Field(86_400, ge=0)
    """Seconds after its arrival at which the objects of an answered question are erased."""
    answer_keep_s: float = Field(604_800, ge=3600)
    """Seconds for which an answer is offered to its destination, and for which a sent one is not sent again."""
    burned_in: Literal["mask", "omit"] = "mask"
    """Cases on a contact sheet whose picture may show a name: mask: without the picture; omit: left out."""
