"""Cells made of cells, and the layers between them."""

from jaxrnn.combinators.attend import Attend as Attend
from jaxrnn.combinators.attention import Attention as Attention
from jaxrnn.combinators.bidirectional import Bidirectional as Bidirectional
from jaxrnn.combinators.conv import CausalConv as CausalConv
from jaxrnn.combinators.feedforward import Dense as Dense
from jaxrnn.combinators.feedforward import Dropout as Dropout
from jaxrnn.combinators.feedforward import Embed as Embed
from jaxrnn.combinators.feedforward import LayerNorm as LayerNorm
from jaxrnn.combinators.feedforward import RMSNorm as RMSNorm
from jaxrnn.combinators.learned_state import LearnedState as LearnedState
from jaxrnn.combinators.recurrent_dropout import RecurrentDropout as RecurrentDropout
from jaxrnn.combinators.residual import Residual as Residual
from jaxrnn.combinators.stack import Stack as Stack
from jaxrnn.combinators.tied_embedding import TiedEmbedding as TiedEmbedding
from jaxrnn.combinators.transformed import TransformedWeights as TransformedWeights
from jaxrnn.combinators.transforms import Dale as Dale
from jaxrnn.combinators.transforms import Masked as Masked
from jaxrnn.combinators.transforms import SpectralNorm as SpectralNorm
from jaxrnn.combinators.transforms import WeightDrop as WeightDrop
from jaxrnn.combinators.zoneout import Zoneout as Zoneout
