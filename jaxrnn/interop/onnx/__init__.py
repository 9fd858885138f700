"""ONNX: recurrent nodes from and to models, and run as they are."""

from jaxrnn import errors

try:
    from jaxrnn.interop.onnx.convert import from_onnx as from_onnx
    from jaxrnn.interop.onnx.convert import run_onnx as run_onnx
    from jaxrnn.interop.onnx.export import to_onnx as to_onnx
except ModuleNotFoundError as why:
    if why.name != "onnx":
        raise
    raise errors.missing_package("onnx", "it is what is converted", "interop") from None

from jaxrnn.interop.reversed import Reversed as Reversed
from jaxrnn.interop.two_biases import TwoBiases as TwoBiases
