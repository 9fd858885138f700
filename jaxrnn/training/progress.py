"""A loop's progress: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np


class Progress:
    """A tqdm bar on a terminal; elsewhere a plain line every ten seconds, so that a log stays
    readable.
    """

    def __init__(self, begin: int, steps: int, shown: bool, every: float = 10.0):
        from tqdm import tqdm  # only a loop with progress needs it

        self.live = shown and sys.stderr.isatty()
        self.lines = shown and not self.live
        self.bar = tqdm(
            total=steps, initial=begin, unit=" steps", dynamic_ncols=True, disable=not self.live
        )
        self.begin, self.steps, self.every = begin, steps, every
        self.start = self.last = time.monotonic()
        self.skipped = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.close()

    def show(self, done: int, rows: list[dict[str, Any]]) -> None:
        self.skipped += sum(int(row.get("skipped", 0)) for row in rows)
        shown = (
            {"loss": f"{np.mean([row['loss'] for row in rows]):.3f}"}
            if rows and "loss" in rows[0]
            else {}
        )
        if share := np.mean([bool(row.get("clipped", False)) for row in rows] or [False]):
            shown["clipped"] = f"{share:.0%}"
        if self.skipped:
            shown["skipped"] = str(self.skipped)
        if rows:
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update(done - self.bar.n)
        now = time.monotonic()
        if self.lines and rows and (now - self.last >= self.every or done == self.steps):
            rate = (done - self.begin) / max(now - self.start, 1e-9)
            self.say(
                f"step {done}/{self.steps}  "
                + "  ".join(f"{k} {v}" for k, v in shown.items())
                + f"  {rate:.1f} steps/s"
            )
            self.last = now

    def say(self, line: str) -> None:
        if self.live or self.lines:
            self.bar.write(line, file=sys.stderr)
            sys.stderr.flush()
