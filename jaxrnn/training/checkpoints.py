"""Checkpoints: a training state and its history, written by orbax into a folder that gets its name
only when it is complete, with a checksum of every file.

    directory/24/state, best, history   arrays
    directory/24/record.json            shapes, settings, how the run began
    directory/24/SHA256SUMS             of all the others

Of several processes the first one writes, having gathered what others hold, and all read. So a run
may go on with other processes, and on other devices, than it was saved from.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import pathlib
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxrnn import errors
from jaxrnn.training.history import Best, History
from jaxrnn.training.integrity import SUMS, checksums, damage, locked
from jaxrnn.training.processes import alone, any_of, by_first, fetched, put
from jaxrnn.training.trees import keyed, plain, samples, spec

UNFINISHED = ".unfinished"


class Checkpoints:
    """The checkpoints of one run under a directory, of which the newest `keep` stay. A write that
    is killed or fails leaves the earlier ones as they were.

    Raises:
      OSError: where the directory cannot be written to, or another process writes to it.
    """

    network: Any = None
    """The network's configuration as JSON, where it is known."""

    def __init__(self, directory: Any, keep: int, settings: Mapping[str, Any]):
        self.directory = pathlib.Path(directory).expanduser().absolute()
        self.keep, self.settings, self.stack = keep, settings, contextlib.ExitStack()
        self.origin: dict[str, Any] = {}
        self.saved: int | None = None  # the step of what was last saved or restored
        by_first(self.hold)

    def hold(self) -> None:
        """Take the directory's lock, and remove what a killed process left."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.stack.enter_context(locked(self.directory))
            for left in self.directory.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            raise
        except OSError as error:
            raise errors.unwritable_directory(self.directory, error) from None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.close()

    def begin(self, state: Any) -> tuple[Any, History]:
        """The newest state and its history, or the given state where there is no checkpoint yet.

        Raises:
          ValueError: where the run that is there began with other settings or from another state.
        """
        self.origin = {"step": int(state.step), "leaves": samples(fetched(state))}

        def found() -> str | None:
            return json.dumps(newest(self.directory)) if steps_in(self.directory) else None

        there = by_first(found)
        if not there:
            return state, History({}, {})
        step, record = json.loads(there)
        if any_of(not (self.directory / str(step)).is_dir()):
            raise errors.not_shared(self.directory, step)
        errors.check_settings(self.directory, record["settings"], self.settings)
        loaded = load(self.directory, step, record, state)
        if self.origin["step"] == record["origin"]["step"]:
            errors.check_origin(self.directory, record["origin"]["leaves"], self.origin["leaves"])
        self.origin, self.saved = record["origin"], step
        return loaded

    def save(self, step: int, state: Any, history: History) -> None:
        if step == self.saved:
            return
        best = None if history.best is None else fetched(history.best.params)
        items = {"state": fetched(state)} | ({} if best is None else {"best": best})
        by_first(lambda: self.try_to_write(step, items, spec(state), history))
        self.saved = step

    def try_to_write(self, step: int, items: dict, leaves: dict, history: History) -> None:
        with quiet():
            reason = self.write(step, items, leaves, history)
            if reason is not None:
                # The other writes of a failed one complain when they end and are collected.
                time.sleep(0.2)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)
                    gc.collect()
        if reason is not None:
            raise errors.cannot_save(self.directory, step, reason, self.saved)

    def write(self, step: int, items: dict, leaves: dict, history: History) -> str | None:
        """Save; where the system refuses, why it does."""
        folder, name = self.directory / UNFINISHED, str(step)
        arrays = {
            group: {k: v for k, v in getattr(history, group).items() if v.size}
            for group in ("metrics", "evaluations")
        }
        items = items | {"history": {k: v for k, v in arrays.items() if v}}
        best = None
        if history.best is not None:
            best = {"step": history.best.step, "score": history.best.score}
        record = {
            "spec": leaves,
            "settings": self.settings,
            "origin": self.origin,
            "best": best,
            "finished": history.finished,
            "network": self.network,
        }
        try:
            shutil.rmtree(folder, ignore_errors=True)
            ocp, checkpointer = orbax()
            for item, tree in items.items():
                if tree:  # orbax refuses an empty one
                    checkpointer.save(folder / item, args=ocp.args.StandardSave(tree))
            (folder / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
            (folder / SUMS).write_text(checksums(folder), encoding="utf-8")
            if (self.directory / name).exists():  # a damaged one
                self.remove(name, folder.with_name(f"{UNFINISHED}.damaged"))
            folder.rename(self.directory / name)
            for old in [s for s in steps_in(self.directory) if s < step][: 1 - self.keep or None]:
                self.remove(str(old), folder)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            reason = refusal(error)
            if reason is None:
                raise
            return reason

    def remove(self, name: str, aside: pathlib.Path) -> None:
        """Remove a checkpoint; it loses its name first."""
        shutil.rmtree(aside, ignore_errors=True)
        (self.directory / name).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def restore(directory: Any, template: Any) -> tuple[Any, History]:
    """The newest state that `fit` saved under a directory, and its history with the best params.
    `template` is a state of the same structure, as from `TrainState.create`; what is restored lies
    where it does, so one that was placed on a mesh gives a state on that mesh, whatever devices it
    was saved from. A run that is still writing is not disturbed.

    A checkpoint whose files are not those that were written is passed over with a warning, and the
    newest whole one is restored.

    Raises:
      FileNotFoundError: where there is no checkpoint.
      ValueError: for a checkpoint of another structure; it names the first leaf that differs. Also
        where no checkpoint is whole.
    """
    errors.check_directory("restore", directory)
    path = pathlib.Path(directory).expanduser().absolute()
    if not steps_in(path):
        raise errors.no_checkpoint(directory)
    step, record = newest(path)
    return load(path, step, record, template)


def steps_in(directory: pathlib.Path) -> list[int]:
    """The steps that have a checkpoint, whole or not, in their order."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def newest(directory: pathlib.Path) -> tuple[int, dict[str, Any]]:
    """The newest whole checkpoint's step and record.

    Raises:
      ValueError: where none is whole.
    """
    while True:
        steps, faults = steps_in(directory), []
        for step in reversed(steps):
            fault = damage(directory / str(step))
            if fault is None:
                if faults:
                    text = "; ".join(faults)
                    warnings.warn(
                        f"{directory}: {text}. The checkpoint of step {step} is whole and is "
                        "taken instead.",
                        stacklevel=3,
                    )
                record = directory / str(step) / "record.json"
                return step, json.loads(record.read_text(encoding="utf-8"))
            faults.append(f"the checkpoint of step {step} is damaged: {fault}")
        if steps == steps_in(directory):  # else a writer has replaced them meanwhile
            raise errors.damaged_checkpoints(directory, faults)


def load(
    directory: pathlib.Path, step: int, record: dict[str, Any], template: Any
) -> tuple[Any, History]:
    """A whole checkpoint's state, in the template's structure and placement (without one tuples
    would come back as lists), and its history.
    """
    held, need = record["spec"], spec(template)
    for place in sorted(held.keys() | need.keys()):
        if held.get(place) != need.get(place):
            raise errors.other_checkpoint(
                directory,
                f"state{place} {held.get(place, 'missing')}",
                f"{need.get(place, 'no such leaf')}",
            )
    folder = directory / str(step)
    ocp, checkpointer = orbax()

    def placed(name: str, like: Any) -> Any:
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, plain(like))
        if not alone():  # each process reads all of it, and keeps what is its own
            shapes = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        found = checkpointer.restore(folder / name, args=ocp.args.StandardRestore(shapes))
        found = keyed(found, like)
        return found if alone() else put(found, jax.tree.map(lambda x: x.sharding, like))

    with quiet():
        state, best, arrays = placed("state", template), record["best"], {}
        if best is not None:
            best = Best(best["step"], best["score"], placed("best", template.params))
        if (folder / "history").is_dir():
            arrays = checkpointer.restore(folder / "history", args=ocp.args.StandardRestore())
    metrics, evaluations = arrays.get("metrics", {}), arrays.get("evaluations", {})
    return state, History(metrics, evaluations, best, record["finished"])


def orbax() -> tuple[Any, Any]:
    """Orbax and its writer of trees; it takes a second to import, and only checkpoints need it."""
    import orbax.checkpoint as ocp

    if alone():
        return ocp, ocp.Checkpointer(ocp.StandardCheckpointHandler())
    here = jax.process_index()  # it waits for no other one
    by_itself: Any = {
        "multiprocessing_options": ocp.options.MultiprocessingOptions(
            primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"jaxrnn{here}"
        )
    }
    handler = ocp.StandardCheckpointHandler(**by_itself)
    return ocp, ocp.Checkpointer(handler, **by_itself)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No log of what orbax's threads meet: it is raised besides, and said in one line."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels, hook = [logger.level for logger in loggers], sys.unraisablehook
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    # Writes that go on while another one has failed find their loop closed.
    sys.unraisablehook = lambda met: None if "loop is closed" in str(met.exc_value) else hook(met)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def refusal(error: Exception) -> str | None:
    """Why the system refused a write, or None where something else went wrong. What tensorstore
    raises is no OSError, but says the number of one.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return None if code is None else os.strerror(int(code[1]))
