"""Flax: weights of its cells, from and to linen and nnx, and any layer as a module of either:
`interop.flax.nnx.Recurrent` and `interop.flax.linen.Recurrent`.
"""

from jaxrnn import errors

try:
    from jaxrnn.interop.flax import linen as linen
    from jaxrnn.interop.flax import nnx as nnx
    from jaxrnn.interop.flax.convert import from_linen as from_linen
    from jaxrnn.interop.flax.convert import from_nnx as from_nnx
    from jaxrnn.interop.flax.convert import to_linen as to_linen
    from jaxrnn.interop.flax.convert import to_nnx as to_nnx
except ModuleNotFoundError as why:
    if why.name != "flax":
        raise
    raise errors.missing_package("flax", "it is what is converted", "interop") from None
