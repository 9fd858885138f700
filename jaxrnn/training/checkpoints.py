"""Checkpoints by orbax: a training state and its history, in a folder that gets its name only when
it is complete.
"""

from __future__ import annotations

import logging
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors
from jaxrnn.errors import describe


class History(NamedTuple):
    """The record of a run.

    `metrics` has one entry a step under each name of the step's metrics. `evaluations` has one
    entry for each evaluation, under `step` and each name from `evaluate`.
    """

    metrics: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]


class Checkpoints:
    """The checkpoints under a directory, newest last; `keep` of them stay. A killed write leaves
    the earlier ones as they were.
    """

    def __init__(self, directory: Any, keep: int = 2, read_only: bool = False):
        import orbax.checkpoint as ocp  # takes a second to import, and only checkpoints need it

        logging.getLogger("absl").setLevel(logging.ERROR)
        self.ocp, self.directory = ocp, pathlib.Path(directory).expanduser().absolute()
        if read_only and not self.directory.is_dir():
            raise errors.no_checkpoint(directory)
        # Only a writer may clear away what an interrupted write has left.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            enable_async_checkpointing=False,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
            create=not read_only,
        )
        self.manager = ocp.CheckpointManager(self.directory, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *error: Any) -> None:
        self.manager.close()

    @property
    def latest(self) -> int | None:
        return self.manager.latest_step()

    def save(self, step: int, state: Any, history: History) -> None:
        if self.latest == step:
            return
        args = self.ocp.args
        filled = {
            group: {k: v for k, v in arrays.items() if v.size}
            for group, arrays in history._asdict().items()
        }
        items = {"state": args.StandardSave(plain(state)), "spec": args.JsonSave(spec(state))}
        if any(filled.values()):
            items["history"] = args.StandardSave({k: v for k, v in filled.items() if v})
        self.manager.save(step, args=args.Composite(**items))

    def restore(self, template: Any) -> tuple[Any, History]:
        """The newest state, in the template's structure (without one tuples would come back as
        lists), and its history.
        """
        step, args = self.latest, self.ocp.args
        if step is None:
            raise errors.no_checkpoint(self.directory)
        held, need = (
            self.manager.restore(step, args=args.Composite(spec=args.JsonRestore()))["spec"],
            spec(template),
        )
        for place in sorted(held.keys() | need.keys()):
            if held.get(place) != need.get(place):
                raise errors.other_checkpoint(
                    self.directory,
                    f"state{place} {held.get(place, 'missing')}",
                    f"{need.get(place, 'no such leaf')}",
                )
        items = {
            "state": args.StandardRestore(
                jax.tree.map(self.ocp.utils.to_shape_dtype_struct, plain(template))
            )
        }
        if (self.directory / str(step) / "history").is_dir():
            items["history"] = args.StandardRestore()
        found = self.manager.restore(step, args=args.Composite(**items))
        history = (
            History({}, {})
            if "history" not in items
            else History(*(found["history"].get(group, {}) for group in History._fields))
        )
        return keyed(found["state"], template), history


def restore(directory: Any, template: Any) -> tuple[Any, History]:
    """The newest state that `fit` saved under a directory, and its history. `template` is a state
    of the same structure, as from `init`.

    Raises:
      FileNotFoundError: where there is no checkpoint.
      ValueError: for a checkpoint of another structure; it names the first leaf that differs.
    """
    with Checkpoints(directory, read_only=True) as checkpoints:
        return checkpoints.restore(template)


def is_key(x: Any) -> bool:
    """Whether an array holds typed PRNG keys."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def plain(tree: Any) -> Any:
    """PRNG keys as the integers they are made of."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def keyed(tree: Any, template: Any) -> Any:
    """The keys again, each of the template's kind."""
    return jax.tree.map(
        lambda x, like: (
            jax.random.wrap_key_data(x, impl=jax.random.key_impl(like)) if is_key(like) else x
        ),
        tree,
        template,
    )


def spec(tree: Any) -> dict[str, str]:
    """The dtype and shape of every leaf, by its path."""
    return {
        jax.tree_util.keystr(path): describe(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
