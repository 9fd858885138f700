"""Other libraries: weights from them and back, and layers as their modules.

`from jaxrnn.interop import cudnn, equinox, flax, haiku, keras, onnx, torch`: each is imported only
on request, and asks for its package then. `cudnn` is `jax.experimental.rnn`'s; it and `haiku`
convert without another package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.interop import cudnn as cudnn
    from jaxrnn.interop import equinox as equinox
    from jaxrnn.interop import flax as flax
    from jaxrnn.interop import haiku as haiku
    from jaxrnn.interop import keras as keras
    from jaxrnn.interop import onnx as onnx
    from jaxrnn.interop import torch as torch

_ROOMS = ("cudnn", "equinox", "flax", "haiku", "keras", "onnx", "torch")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"jaxrnn.interop.{name}")
    raise AttributeError(f"module 'jaxrnn.interop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
