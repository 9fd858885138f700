"""A stop at the end of a step: SIGINT (Ctrl-C) and SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that takes the first SIGINT or SIGTERM; the second one does what it would have done
    without. What is ignored stays ignored, and only the main thread can catch any.

    SIGTERM asks the process to end. So at the end of the block it goes to the handler that was
    there before, and without one it is `SystemExit(143)`, the status that a shell shows for it.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        # None is a handler that was not set from Python, and cannot be put back.
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def catch(number: int, frame: Any) -> None:
        caught.append(number)
        put_back()

    for number in before:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        put_back()
    if signal.SIGTERM in caught:
        if before[signal.SIGTERM] is signal.SIG_DFL:
            raise SystemExit(128 + signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
