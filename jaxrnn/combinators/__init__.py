"""Layers that wrap or join others: networks, wrapped cells, attention, functions of weights."""

from jaxrnn.combinators.attention import Attention as Attention
from jaxrnn.combinators.attention_cell import AttentionCell as AttentionCell
from jaxrnn.combinators.bidirectional import Bidirectional as Bidirectional
from jaxrnn.combinators.learned_state import LearnedState as LearnedState
from jaxrnn.combinators.recurrent_dropout import RecurrentDropout as RecurrentDropout
from jaxrnn.combinators.residual import Residual as Residual
from jaxrnn.combinators.stack import Stack as Stack
from jaxrnn.combinators.transformed import TransformedWeights as TransformedWeights
from jaxrnn.combinators.transforms import Dale as Dale
from jaxrnn.combinators.transforms import Masked as Masked
from jaxrnn.combinators.transforms import Orthogonal as Orthogonal
from jaxrnn.combinators.transforms import SpectralNorm as SpectralNorm
from jaxrnn.combinators.transforms import WeightDrop as WeightDrop
from jaxrnn.combinators.zoneout import Zoneout as Zoneout
