"""Seeds that resume, and the record of what was reached."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.errors import check_settings
from jaxrnn.training.integrity import locked
from support import errors
from support.experiments.options import Interrupted

NOT_SETTINGS = {"name", "command", "out", "keep", "seed", "seeds", "save_every", "evaluate_every"}
"""Options that say where, how often and how many times, and not what is computed."""


def write_json(path: pathlib.Path, content: Any) -> None:
    """JSON that takes its name only when it is whole; NumPy's and JAX's numbers are numbers."""

    def plain(value: Any) -> Any:
        return np.asarray(value).tolist()

    temporary = path.with_suffix(".tmp")
    text = json.dumps(content, indent=1, default=plain, ensure_ascii=False)
    # A list of numbers on one line.
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:  # a full disk does not say where
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None


def read_json(path: pathlib.Path) -> Any:
    """What `write_json` wrote.

    Raises:
      ValueError: naming the file, where it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise errors.damaged_json(path) from None


def settled(args: argparse.Namespace, aside: Sequence[str] = (), **found: Any) -> dict[str, Any]:
    """The settings of a run, with what was `found` in the data: kept in
    `args.out / "settings.json"`, and refused where a run with others is there already. Options
    `aside` are no settings: what is written after training, say.

    Raises:
      ValueError: naming each option that differs.
    """
    options = {
        k: str(v) if isinstance(v, pathlib.Path) else v
        for k, v in vars(args).items()
        if k not in NOT_SETTINGS | set(aside)
    }
    settings = json.loads(json.dumps(options | found))
    path = args.out / "settings.json"
    if path.exists():
        kept = read_json(path)
        if not isinstance(kept, dict):
            raise errors.damaged_json(path)
        flags = [
            {f"--{name.replace('_', '-')}": value for name, value in some.items()}
            for some in (kept, settings)
        ]
        check_settings(args.out, *flags, do="Give the same again, or another --out.")
    else:
        write_json(path, settings)
    return settings


def held(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of the run in `args.out`, for what is made from its checkpoints.

    Raises:
      FileNotFoundError: where there is none.
    """
    path = args.out / "settings.json"
    if not path.exists():
        raise FileNotFoundError(f"{args.out} holds no run. Train first, or give the --out of one.")
    return read_json(path)


@contextlib.contextmanager
def clocked(path: pathlib.Path, every: float = 2.0) -> Iterator[Callable[[], list[float]]]:
    """The seconds and the seconds of CPU spent so far, those before an interruption included. They
    are written to a file every now and then, so that a kill loses few of them."""
    before = read_json(path) if path.exists() else [0.0, 0.0]
    start, ended = (time.perf_counter(), time.process_time()), threading.Event()

    def spent() -> list[float]:
        now = time.perf_counter(), time.process_time()
        return [round(b + n - s, 1) for b, n, s in zip(before, now, start, strict=True)]

    def write() -> None:
        with contextlib.suppress(OSError):  # the work itself says so
            write_json(path, spent())

    def beat() -> None:
        while not ended.wait(every):
            write()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield spent
    finally:
        ended.set()
        thread.join()
        write()


def seeds(
    args: argparse.Namespace,
    one: Callable[[int, pathlib.Path], Mapping[str, Any]],
    aside: Sequence[str] = (),
    **found: Any,
) -> list[dict[str, Any]]:
    """The results of `one(seed, folder)` for every seed, in their order. What a seed gave is kept
    in its folder, and it is not run again. Several processes may share the seeds of one `args.out`,
    each its own.

    Args:
      args: of `parser`.
      one: a run; it trains under `folder / "checkpoints"` and returns numbers or lists of numbers
        by name.
      aside: options that are no settings.
      found: what the data say (a hash, a number of rows), kept with the settings.

    Raises:
      ValueError: where `args.out` holds runs with other settings.
      BlockingIOError: where another process is at work on a seed.
    """
    settled(args, aside, **found)
    results = []
    for seed in range(args.seed, args.seed + args.seeds):
        folder = args.out / f"seed{seed}"
        path = folder / "result.json"
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not path.exists():
                which = f", {seed - args.seed + 1} of {args.seeds}" if args.seeds > 1 else ""
                print(f"seed {seed}{which}", file=sys.stderr)
                with clocked(folder / "clock.json") as spent:
                    result = dict(one(seed, folder))
                    seconds, cpu = spent()
                times = {"seconds": seconds, "cpu_seconds": cpu}
                write_json(path, {"seed": seed, **result, **times})
            results.append(read_json(path))
    return results


def often(args: argparse.Namespace) -> dict[str, int]:
    """`--save-every` and `--evaluate-every`, as `training.fit` takes them."""
    return {"save_every": args.save_every, "evaluate_every": args.evaluate_every}


def trained(result: tuple[Any, Any]) -> tuple[Any, Any]:
    """What `training.fit` returned, or `Interrupted` where it ended before its end."""
    if not result[1].finished:
        raise Interrupted
    return result


class Table(NamedTuple):
    """One score of an experiment, ours beside others'.

    `ours` names results of the runs by the label they are shown under (numbers, or lists of them,
    of which all count alike); `references` are numbers, published or computed beside, in the same
    unit. The unit `%` shows fractions as percentages.
    """

    title: str
    ours: Mapping[str, str]
    references: Mapping[str, float] = {}
    unit: str = "%"
    digits: int = 1

    def text(self, value: float) -> str:
        return f"{100 * value if self.unit == '%' else value:.{self.digits}f}"

    def rows(self, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for label, key in self.ours.items():
            values = np.concatenate([np.ravel(run[key]) for run in runs]).astype(float).tolist()
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
            text = self.text(float(np.mean(values))) + (
                f" ± {self.text(spread)}" if len(values) > 1 else ""
            )
            rows.append({"name": label, "text": text, "values": values})
        rows += [
            {"name": name, "text": self.text(value), "value": float(value)}
            for name, value in self.references.items()
        ]
        return rows


def report(
    args: argparse.Namespace,
    runs: Sequence[Mapping[str, Any]],
    tables: Sequence[Table],
    *,
    shape: str,
    data: str,
    shows: str,
    picture: pathlib.Path | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Print what was reached beside its references, and keep it as `args.out / "results.json"`.

    Args:
      runs: as `seeds` gave them.
      tables: the first one's first row is what the experiment is known by.
      shape: of the sequence problem; `data`: what it was trained on; `shows`: what it is about, in
        a few words.
      picture: copied to `--keep` beside the record.
      notes: sentences that belong with the numbers.
    """
    filled = [
        {"title": table.title, "unit": table.unit, "rows": table.rows(runs)} for table in tables
    ]
    over = f", mean and standard deviation over {len(runs)} seeds" if len(runs) > 1 else ""
    for table in filled:
        unit = f" ({table['unit']})" if table["unit"] else ""
        print(f"\n{table['title']}{unit}{over}")
        width = max(len(row["name"]) for row in table["rows"])
        for row in table["rows"]:
            print(f"  {row['name']:{width}s}  {row['text']}")
    for note in notes:
        print(note)
    packages = ("jaxrnn", "jax", "jaxlib", "optax", "numpy")
    record = {
        "example": args.name,
        "shape": shape,
        "data": data,
        "shows": shows,
        "command": args.command,
        "tables": filled,
        "notes": list(notes),
        # Vocabularies are long.
        "settings": {
            k: v for k, v in held(args).items() if not (isinstance(v, list) and len(v) > 20)
        },
        "runs": list(runs),
        "seconds": round(sum(run.get("seconds", 0.0) for run in runs), 1),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "machine": {"device": jax.devices()[0].device_kind, "cores": os.cpu_count()},
    }
    write_json(args.out / "results.json", record)
    print(f"\nrecord: {args.out / 'results.json'}" + (f", picture: {picture}" if picture else ""))
    if args.keep is not None:
        args.keep.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(args.out / "results.json", args.keep.with_suffix(".json"))
        if picture is not None:
            shutil.copyfile(picture, args.keep.with_suffix(".png"))
