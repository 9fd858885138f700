"""Recurrent networks for JAX: a cell says what is computed at a step, a strategy how a sequence of steps is evaluated."""

__version__ = "0.1.0"

# Rooms of their own
from jaxrnn import data as data
from jaxrnn import decoding as decoding
from jaxrnn import diagnostics as diagnostics
from jaxrnn import experiments as experiments
from jaxrnn import initializers as initializers
from jaxrnn import metrics as metrics
from jaxrnn import newton as newton
from jaxrnn import tasks as tasks
from jaxrnn import testing as testing
from jaxrnn import training as training

# Verbs
from jaxrnn.advance import advance as advance
from jaxrnn.unroll import fold as fold
from jaxrnn.unroll import unroll as unroll
from jaxrnn.controls import lengths_to_mask as lengths_to_mask
from jaxrnn.params import trainable as trainable
from jaxrnn.heap import keep_heap as keep_heap

# Nouns: layers and their kinds, and what their authors use
from jaxrnn.layer import Layer as Layer
from jaxrnn.cell import Cell as Cell
from jaxrnn.cell import LinearCell as LinearCell
from jaxrnn.layer import Feedforward as Feedforward
from jaxrnn.layer import WholeSequence as WholeSequence
from jaxrnn.composite import Composite as Composite
from jaxrnn.layer import Noise as Noise
from jaxrnn.layer import TOKEN as TOKEN
from jaxrnn.layer import features as features
from jaxrnn.autodiff.transitions import Complex as Complex
from jaxrnn.autodiff.transitions import Matrix as Matrix
from jaxrnn.autodiff.linear import linear_scan as linear_scan
from jaxrnn.autodiff.dot import Dot as Dot
from jaxrnn.autodiff.products import matmul as matmul

# Nouns: cells
from jaxrnn.cells import GRU as GRU
from jaxrnn.cells import LRU as LRU
from jaxrnn.cells import LSTM as LSTM
from jaxrnn.cells import RGLRU as RGLRU
from jaxrnn.cells import S5 as S5
from jaxrnn.cells import DiagonalGRU as DiagonalGRU
from jaxrnn.cells import DiagonalLSTM as DiagonalLSTM
from jaxrnn.cells import EchoState as EchoState
from jaxrnn.cells import Elman as Elman
from jaxrnn.cells import LayerNormGRU as LayerNormGRU
from jaxrnn.cells import LayerNormLSTM as LayerNormLSTM
from jaxrnn.cells import LSTMState as LSTMState
from jaxrnn.cells import MinGRU as MinGRU
from jaxrnn.cells import MinLSTM as MinLSTM
from jaxrnn.cells import PeepholeLSTM as PeepholeLSTM
from jaxrnn.cells import Selective as Selective
from jaxrnn.cells import ridge as ridge

# Nouns: combinators
from jaxrnn.combinators import Attend as Attend
from jaxrnn.combinators import Attention as Attention
from jaxrnn.combinators import Bidirectional as Bidirectional
from jaxrnn.combinators import CausalConv as CausalConv
from jaxrnn.combinators import Dense as Dense
from jaxrnn.combinators import Dropout as Dropout
from jaxrnn.combinators import Embed as Embed
from jaxrnn.combinators import LayerNorm as LayerNorm
from jaxrnn.combinators import LearnedState as LearnedState
from jaxrnn.combinators import RecurrentDropout as RecurrentDropout
from jaxrnn.combinators import Residual as Residual
from jaxrnn.combinators import RMSNorm as RMSNorm
from jaxrnn.combinators import Stack as Stack
from jaxrnn.combinators import TiedEmbedding as TiedEmbedding
from jaxrnn.combinators import TransformedWeights as TransformedWeights
from jaxrnn.combinators import Zoneout as Zoneout

# Functions of params
from jaxrnn.combinators import Dale as Dale
from jaxrnn.combinators import Masked as Masked
from jaxrnn.combinators import SpectralNorm as SpectralNorm
from jaxrnn.combinators import WeightDrop as WeightDrop

# Nouns: models
from jaxrnn.models import EncoderDecoder as EncoderDecoder
from jaxrnn.models import Pairs as Pairs
from jaxrnn.models import Pooled as Pooled

# Nouns: strategies
from jaxrnn.strategies import Associative as Associative
from jaxrnn.strategies import Auto as Auto
from jaxrnn.strategies import Chunked as Chunked
from jaxrnn.strategies import Newton as Newton
from jaxrnn.strategies import Scan as Scan
from jaxrnn.strategies import Strategy as Strategy
