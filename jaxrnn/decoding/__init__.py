"""Sequences from a model, generated one token at a time inside one jit.

A model is any function `step(state, token) -> (state, logits)`. For a network it is
`jax.tree_util.Partial(advance, net, params)`: the params are then arguments of the jitted loop and
not constants compiled into it.
"""

from jaxrnn.decoding.beams import Beams as Beams
from jaxrnn.decoding.beams import beam as beam
from jaxrnn.decoding.sampling import greedy as greedy
from jaxrnn.decoding.sampling import sample as sample
