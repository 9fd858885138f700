"""Keras: weights of its layers and models, from and to them, and from its files."""

from jaxrnn import errors

try:
    from jaxrnn.interop.keras.convert import from_keras as from_keras
    from jaxrnn.interop.keras.convert import to_keras as to_keras
    from jaxrnn.interop.keras.files import load_keras as load_keras
except ModuleNotFoundError as why:
    if why.name in ("keras", "h5py"):
        raise errors.missing_package(why.name, "it is what is converted", "interop") from None
    if why.name not in ("tensorflow", "torch", "openvino"):
        raise
    raise errors.no_backend(why.name) from None

from jaxrnn.interop.reversed import Reversed as Reversed
from jaxrnn.interop.two_biases import TwoBiases as TwoBiases
