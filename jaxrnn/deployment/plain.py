"""Trees without classes. A program in a file takes and gives tuples, lists and dictionaries; a
class, such as a cell's own state, would have to be known where the file is read.
"""

from __future__ import annotations

from typing import Any

import jax

from jaxrnn import errors


def plain(tree: Any) -> Any:
    """The same leaves in tuples, lists and dictionaries: of an object of a class become the names
    of its fields.

    Example:
      >>> plain((LSTMState(1, 2), ()))
      ({'h': 1, 'c': 2}, ())
    """
    parts = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)[0]
    if tree is None or [path for path, _ in parts] == [()]:
        return tree
    if type(tree) in (tuple, list):
        return type(tree)(plain(part) for _, part in parts)
    made: dict[str, Any] = {}
    for path, part in parts:
        name = jax.tree_util.keystr(path, simple=True)
        if name in made:
            raise errors.one_name_twice(name)
        made[name] = plain(part)
    return made


def classed(like: Any, made: Any) -> Any:
    """The tree like another one, from what `plain` makes of it."""
    structure = jax.tree.structure(like)
    # Dictionaries order their leaves by name, whatever order the fields have.
    places = range(structure.num_leaves)
    order = jax.tree.leaves(plain(jax.tree.unflatten(structure, places)))
    leaves = dict(zip(order, jax.tree.leaves(made), strict=True))
    return jax.tree.unflatten(structure, [leaves[i] for i in places])
