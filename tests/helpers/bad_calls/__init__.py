"""Bad calls, a file for each room: what is called, the kind of the error, and words in it."""

from collections.abc import Callable
from typing import NamedTuple


class Bad(NamedTuple):
    """A call that must be refused, the exception's class, and words that its message must hold."""

    name: str
    call: Callable[[], object]
    kind: type[Exception]
    words: tuple[str, ...]
