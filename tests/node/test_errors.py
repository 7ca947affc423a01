"""What a refusal may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import COMMENT_LENGTH, Refusal, Status, printable


@given(text=st.text())
def test_a_comment_is_short_ascii_without_control_characters_and_one_value(text: str) -> None:
    comment = Refusal(Status.DATA_SET_MISMATCH, text).comment

    assert len(comment) <= COMMENT_LENGTH
    assert comment.isascii()
    assert comment.isprintable()
    assert "\\" not in comment


@pytest.mark.parametrize(("text", "shown"), [("a\x1b[31mb", "a?[31mb"), ("a\nb", "a?b"), ("ü", "?"), ("a b", "a b")])
def test_what_a_terminal_would_obey_is_not_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
