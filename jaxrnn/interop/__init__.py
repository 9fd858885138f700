"""Other libraries: weights from them and back, and layers as their modules.

`from jaxrnn.interop import flax, keras, onnx, torch`: each is imported only on request, and asks
for its package then.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.interop import flax as flax
    from jaxrnn.interop import keras as keras
    from jaxrnn.interop import onnx as onnx
    from jaxrnn.interop import torch as torch

_ROOMS = ("flax", "keras", "onnx", "torch")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"jaxrnn.interop.{name}")
    raise AttributeError(f"module 'jaxrnn.interop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
