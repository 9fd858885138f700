"""The options of an experiment, and what goes wrong said in one line."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from support import errors

GOES_ON = "the same command goes on from here"


class Interrupted(Exception):
    """Training ended before its last step."""


def positive(text: str) -> int:
    """An option's value: an integer of at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def parser(
    name: str,
    doc: str | None,
    *,
    steps: int,
    batch: int,
    lr: float,
    seeds: int = 1,
    save_every: int = 500,
    evaluate_every: int = 500,
    validate: str | None = None,
) -> argparse.ArgumentParser:
    """The options that every experiment has, with these defaults; add your own to it.

    `validate` says what is scored in place of the test set under `--validate`, for choices that
    must not see it.
    """
    made = argparse.ArgumentParser(
        prog=name,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        conflict_handler="resolve",
    )
    add = made.add_argument
    add("--steps", type=positive, default=steps, help="of training (default: %(default)s)")
    add("--batch", type=positive, default=batch, help="sequences a step (default: %(default)s)")
    add("--lr", type=float, default=lr, help="the highest learning rate (default: %(default)s)")
    add(
        "--seeds",
        type=positive,
        default=seeds,
        metavar="N",
        help="how many runs, each from a seed of its own (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="the first of them (default: %(default)s)")
    add(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("runs") / name,
        metavar="DIR",
        help="checkpoints, record, pictures (default: %(default)s)",
    )
    add(
        "--keep",
        type=pathlib.Path,
        metavar="PATH",
        help="in the end copy the record and the picture to PATH.json and PATH.png",
    )
    add(
        "--save-every",
        type=positive,
        default=save_every,
        metavar="STEPS",
        help="(default: %(default)s)",
    )
    add(
        "--evaluate-every",
        type=positive,
        default=evaluate_every,
        metavar="STEPS",
        help="(default: %(default)s)",
    )
    if validate is not None:
        add(
            "--validate",
            action="store_true",
            help=f"never read the test set, and score {validate} instead",
        )
    return made


def run(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], None],
    argv: Sequence[str] | None = None,
) -> None:
    """Parse, work, and say in one line what is wrong: a missing package or file, data or options
    that will not do, a full disk.

    Ends with status 130 after Ctrl-C and 143 after SIGTERM; the same command then goes on where it
    was.
    """
    args = parser.parse_args(argv)
    given = sys.argv[1:] if argv is None else list(argv)
    args.name = parser.prog
    args.command = f"python examples/{parser.prog}.py {shown(given)}".strip()
    try:
        if importlib.util.find_spec("matplotlib") is None:
            raise errors.missing_package("matplotlib", "it draws the picture", "examples")
        with terminable():
            work(args)
    except (Interrupted, KeyboardInterrupt):
        print(GOES_ON, file=sys.stderr)
        sys.exit(130)
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGTERM:
            print(GOES_ON, file=sys.stderr)
        raise
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"{parser.prog}: {error}")


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM as `SystemExit(143)`, so that what is open is closed; `fit` saves first."""

    def terminate(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def shown(given: Sequence[str]) -> str:
    """A command's options without those that say where its results go."""
    kept, skip = [], False
    for word in given:
        if not (skip or word.startswith(("--out", "--keep"))):
            kept.append(word)
        skip = word in ("--out", "--keep")
    return " ".join(kept)


def package(name: str, extra: str) -> pathlib.Path:
    """The folder of an installed package that carries data, found without importing it.

    Raises:
      ModuleNotFoundError: where it is not installed; it names the extra that brings it.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise errors.missing_package(name, "it carries the data", extra)
    return pathlib.Path(spec.submodule_search_locations[0])
