"""What the loop around a step and its directory refuse."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.errors.message import describe, error


def is_scalar(x: Any, *kinds: Any) -> bool:
    """Whether it is an array of one number of these kinds."""
    return getattr(x, "shape", None) == () and any(jnp.issubdtype(x.dtype, k) for k in kinds)


def check_fit_calls(step: Any, state: Any, batches: Any, evaluate: Any) -> None:
    """What `fit` calls can be called, and the state counts its steps."""
    if not callable(step):
        need, do = "a function step(state, batch) -> (state, metrics)", "Make it with bptt_step."
        raise error(TypeError, "fit", f"step as a {describe(step)}", need, do)
    if not callable(batches):
        need = "a function of the step, batches(n) -> batch"
        do = "Write lambda n: batches[n % len(batches)], or take data.Segments or data.Buckets."
        if not hasattr(batches, "__getitem__"):
            do = "A resumed run asks for the batch of any step, which an iterator cannot give."
        raise error(TypeError, "fit", f"batches as a {describe(batches)}", need, do)
    if not (evaluate is None or callable(evaluate)):
        need, do = (
            "a function evaluate(state) -> {name: number}",
            'Write lambda state: {"loss": f(state)}.',
        )
        raise error(TypeError, "fit", f"evaluate as a {describe(evaluate)}", need, do)
    count: Any = getattr(state, "step", None)
    if not (isinstance(count, int) or is_scalar(count, jnp.integer)):
        need, do = "a state whose .step counts its steps", "Make it with TrainState.create(...)."
        raise error(TypeError, "fit", f"a state {describe(state)}", need, do)


def check_fit_counts(steps: Any, *every: Any) -> None:
    """Whole numbers, all but `steps` at least one."""
    names = ("save_every", "keep", "evaluate_every", "fetch_every", "patience")
    for name, least, count in (
        ("steps", 0, steps),
        *((name, 1, count) for name, count in zip(names, every, strict=True)),
    ):
        if name == "patience" and count is None:
            continue
        need, do = f"an integer of at least {least}", f"Write {name}={max(least, 100)}, say."
        if isinstance(count, bool) or not hasattr(count, "__index__"):
            raise error(TypeError, "fit", f"{name}={count!r}", need, do)
        if count < least:
            raise error(ValueError, "fit", f"{name}={count}", need, do)


def check_fit_best(state: Any, evaluate: Any, best: Any, mode: Any, patience: Any) -> None:
    """The arguments that say which params are kept belong together."""
    if best is None:
        if mode is not None or patience is not None:
            got = f"best_mode={mode!r}" if mode is not None else f"patience={patience}"
            need = "best=, the name of what evaluate returns"
            raise error(ValueError, "fit", f"{got} without best", need, 'Add best="loss", say.')
        return
    if not isinstance(best, str):
        need, do = "the name of an evaluation", 'Write best="loss", best_mode="min".'
        raise error(TypeError, "fit", f"best={best!r}", need, do)
    if mode not in ("min", "max"):
        need = 'best_mode="min" or best_mode="max"'
        do = "Say whether a low or a high number is good; a name does not tell."
        raise error(ValueError, "fit", f"best={best!r} with best_mode={mode!r}", need, do)
    if evaluate is None:
        need, do = "evaluate=, which returns it", f"Add evaluate=lambda state: {{{best!r}: ...}}."
        raise error(ValueError, "fit", f"best={best!r} without evaluate", need, do)
    if not hasattr(state, "params"):
        need, do = "a state with .params, which best keeps", "Make it with TrainState.create(...)."
        raise error(TypeError, "fit", f"a state {describe(state)}", need, do)


def check_directory(who: str, directory: Any) -> None:
    """A path of what is a directory or may become one."""
    if not isinstance(directory, str | os.PathLike):
        need, do = "a path", 'Write directory="runs/first", say.'
        raise error(TypeError, who, f"directory={directory!r}", need, do)
    path = pathlib.Path(directory).expanduser()
    if path.exists() and not path.is_dir():
        do = "Give another path, or move the file away."
        raise error(NotADirectoryError, str(directory), "a file", "a directory", do)


def check_fit_directory(directory: Any, settings: Any, state: Any) -> dict[str, Any]:
    """A path, a state that can be saved, and settings, which are returned as JSON holds them."""
    if directory is not None:
        check_directory("fit", directory)
        for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
            if not (hasattr(leaf, "dtype") and hasattr(leaf, "shape") and leaf.size):
                got = f"state{jax.tree_util.keystr(path)} {describe(leaf)}"
                need, do = "arrays that are not empty, which can be saved", "Use jnp.asarray."
                raise error(TypeError, "fit", got, need, do)
    return {} if settings is None else json_values("fit", "settings", settings, nan=True)


def json_values(who: str, what: str, values: Any, nan: bool = False) -> dict[str, Any]:
    """Names and values, as JSON holds them."""
    need, do = "a mapping of names to what JSON holds", f'Write {what}={{"rate": 1e-3}}, say.'
    if not (isinstance(values, Mapping) and all(isinstance(name, str) for name in values)):
        raise error(TypeError, who, f"{what} as a {describe(values)}", need, do)
    found = {}
    for name, value in values.items():
        try:
            found[name] = json.loads(json.dumps(value, allow_nan=nan))
        except (TypeError, ValueError, RecursionError):
            got = f"{what} with {name} as a {describe(value)}"
            if isinstance(value, float):
                got = f"{what} with {name}={value}"
            raise error(TypeError, who, got, need, do) from None
    return found


def check_step_result(result: Any) -> None:
    """A state and metrics, in this order."""
    if not (isinstance(result, tuple) and len(result) == 2 and hasattr(result[0], "step")):
        got = (
            f"({', '.join(map(describe, result))})"
            if isinstance(result, tuple) and not hasattr(result, "_fields")
            else describe(result)
        )
        do = "Return the new state first, then the metrics."
        raise error(TypeError, "fit", f"{got} from step", "(state, metrics)", do)
    metrics, do = result[1], "See training.Metrics."
    if not hasattr(metrics, "_asdict"):
        need = "a NamedTuple of scalars"
        raise error(TypeError, "fit", f"metrics as a {describe(metrics)} from step", need, do)
    for name, value in metrics._asdict().items():
        if not (isinstance(value, int | float) or getattr(value, "shape", None) == ()):
            got = f"the metric {name} {describe(value)} from step"
            raise error(TypeError, "fit", got, "a scalar array", do)


def check_evaluation(found: Any, known: set[str] | None, best: str | None) -> None:
    """Names and numbers, the same names each time."""
    if not (isinstance(found, Mapping) and all(isinstance(name, str) for name in found)):
        need, do = "a mapping of names to numbers", 'Return {"loss": loss}, say.'
        raise error(TypeError, "fit", f"a {describe(found)} from evaluate", need, do)
    for name, value in found.items():
        if not (
            isinstance(value, int | float) or is_scalar(value, bool, jnp.integer, jnp.floating)
        ):
            got, do = f"{name!r} {describe(value)} from evaluate", "Average it, or give it names."
            raise error(TypeError, "fit", got, "one number for each name", do)
    names = ", ".join(map(repr, sorted(found))) or "nothing"
    if "step" in found:
        need, do = "other names: 'step' is the history's own", "Rename it."
        raise error(ValueError, "fit", f"{names} from evaluate", need, do)
    if best is not None and best not in found:
        need, do = f"{best!r} among them", f"Return it, or let best= be one of {names}."
        raise error(ValueError, "fit", f"{names} from evaluate", need, do)
    if known is not None and known != set(found):
        need = f"{', '.join(map(repr, sorted(known)))}, as at the evaluation before"
        raise error(ValueError, "fit", f"{names} from evaluate", need, "Return the same each time.")


def check_settings(
    where: Any, held: Mapping, given: Mapping, do: str = "Give them again, or another directory."
) -> None:
    """The settings that a run began with, all of them."""

    def shown(settings: Mapping, name: str) -> str:
        text = json.dumps(settings[name], ensure_ascii=False) if name in settings else "missing"
        return f"{name} {text if len(text) <= 60 else text[:57] + '...'}"

    names = [
        name
        for name in dict.fromkeys([*given, *held])
        if name not in held
        or name not in given
        or json.dumps(held[name], sort_keys=True) != json.dumps(given[name], sort_keys=True)
    ]
    if names:
        got, need = (", ".join(shown(s, name) for name in names) for s in (given, held))
        raise error(
            ValueError, str(where), f"settings {got}", f"{need}, as the run there has them", do
        )


def check_origin(directory: Any, held: Mapping, given: Mapping) -> None:
    """The state that a run began from, by some numbers of each leaf. Another machine may round
    otherwise; another seed differs in the first digits.
    """

    def shown(numbers: np.ndarray) -> str:
        return f"[{', '.join(f'{number:.10g}' for number in numbers)}]"

    for path in sorted(held, key=lambda path: path != ".key"):
        old, new = np.asarray(held[path]), np.asarray(given[path])
        exact = old.dtype.kind in "iu"
        if not np.allclose(new, old, 0 if exact else 1e-3, 0 if exact else 1e-6, equal_nan=True):
            raise error(
                ValueError,
                str(directory),
                f"an initial state{path} {shown(new)}",
                f"{shown(old)}, from which the run there began",
                "Give the same seed and initial params again, or another directory.",
            )


def another_writer(directory: Any, process: str) -> Exception:
    return error(
        BlockingIOError,
        str(directory),
        f"a directory that process {process} writes to",
        "one writer at a time",
        "Wait for it or end it, or give another directory.",
    )


def unwritable_directory(directory: Any, why: OSError) -> Exception:
    return error(
        OSError,
        str(directory),
        f"a directory that cannot be written to ({why.strerror})",
        "one that can",
        "Give another directory.",
    )


def cannot_save(directory: Any, step: int, why: str, whole: int | None) -> Exception:
    kept = (
        "No checkpoint was there before."
        if whole is None
        else f"The checkpoint of step {whole} is whole: the same call goes on from there."
    )
    return error(
        OSError,
        str(directory),
        f"no checkpoint of step {step} written ({why})",
        "room and the right to write",
        kept,
    )


def no_network_noted(directory: Any, step: int) -> Exception:
    got, need = f"a checkpoint of step {step} that notes no network", "one that does"
    do = "Make the network by its code, a TrainState of it, and call training.restore."
    return error(ValueError, str(directory), got, need, do)


def damaged_checkpoints(directory: Any, faults: list[str]) -> Exception:
    return error(
        ValueError,
        str(directory),
        f"no whole checkpoint ({'; '.join(faults)})",
        "one whose files are those that were written",
        "Put back a copy of it, or begin anew in another directory.",
    )


def raised_on_first(kind: type[Exception], text: str) -> Exception:
    """What the first of several processes met, on the others."""
    return kind(f"on the first process: {text}")


def not_shared(directory: Any, step: int) -> Exception:
    return error(
        ValueError,
        str(directory),
        f"a checkpoint of step {step} that not every process sees",
        "a directory that all processes share",
        "Give one on a file system that all hosts mount.",
    )
