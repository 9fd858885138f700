"""Layers without a recurrence, to put between cells: embeddings, dense layers, norms, dropout,
convolutions.
"""

from jaxrnn.layers.apply import Apply as Apply
from jaxrnn.layers.causal_conv import CausalConv as CausalConv
from jaxrnn.layers.feedforward import Dense as Dense
from jaxrnn.layers.feedforward import Dropout as Dropout
from jaxrnn.layers.norms import LayerNorm as LayerNorm
from jaxrnn.layers.norms import RMSNorm as RMSNorm
from jaxrnn.layers.tied_embedding import TiedEmbedding as TiedEmbedding
from jaxrnn.layers.tokens import Embed as Embed
from jaxrnn.layers.tokens import OneHot as OneHot
