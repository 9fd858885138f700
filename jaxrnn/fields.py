"""Static configuration: frozen dataclasses that hash and compare by what they say."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn import errors

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def frozen(cls: type[T], **options: Any) -> type[T]:
    """A frozen dataclass whose fields hold Python's numbers where its caller passed NumPy's, so
    that both make equal values of one hash and one repr. Options are those of `dataclass`.
    """
    made: Any = dataclasses.dataclass(frozen=True, **options)(cls)
    init = made.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            init(self, *map(plain, args), **{name: plain(value) for name, value in kwargs.items()})
        except TypeError:
            try:
                signature.bind(self, *args, **kwargs)
            except TypeError as why:
                raise errors.wrong_fields(type(self), signature, kwargs, str(why)) from None
            raise

    made.__init__ = wrapped
    return made


def plain(value: Any) -> Any:
    """Python's number for a scalar of NumPy, and for an integer that JAX holds; tuples too."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is tuple:
        return tuple(map(plain, value))
    concrete = isinstance(value, np.ndarray | jax.Array) and not isinstance(value, Tracer)
    if concrete and not value.ndim and jnp.issubdtype(value.dtype, jnp.integer):
        return int(value)
    return value
