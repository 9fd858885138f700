"""Bad calls, a file for each room: what is called, the kind of the error, and words in it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple


class Bad(NamedTuple):
    """A call that must be refused, the exception's class, and words that its message must hold."""

    name: str
    call: Callable[[], object]
    kind: type[Exception]
    words: tuple[str, ...]


def at(name: str, kind: type, words: tuple, call: Callable, *args: object, **settings: object):
    """A bad call of a function with these arguments."""
    return Bad(name, partial(call, *args, **settings), kind, words)
