"""PyTorch: weights of its recurrent modules, from and to them, from state dicts and from files."""

from jaxrnn import errors

try:
    from jaxrnn.interop.torch.files import load_torch as load_torch
    from jaxrnn.interop.torch.modules import from_torch as from_torch
    from jaxrnn.interop.torch.modules import to_torch as to_torch
except ModuleNotFoundError as why:
    if why.name != "torch":
        raise
    raise errors.missing_package("torch", "it is what is converted", "interop") from None

from jaxrnn.interop.two_biases import TwoBiases as TwoBiases
