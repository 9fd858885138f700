"""Recurrent networks for JAX: a cell says what is computed at a step, a strategy how a sequence of
steps is evaluated.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Verbs
from jaxrnn.advance import advance as advance
from jaxrnn.unroll import fold as fold
from jaxrnn.unroll import unroll as unroll
from jaxrnn.newton_solve import newton_solve as newton_solve
from jaxrnn.controls import lengths_to_mask as lengths_to_mask
from jaxrnn.params import trainable as trainable
from jaxrnn.heap import keep_heap as keep_heap

# Nouns: layers and their kinds
from jaxrnn.layer import Layer as Layer
from jaxrnn.cell import Cell as Cell
from jaxrnn.cell import LinearCell as LinearCell
from jaxrnn.layer import Feedforward as Feedforward
from jaxrnn.layer import WholeSequence as WholeSequence
from jaxrnn.composite import Composite as Composite
from jaxrnn.layer import TOKEN as TOKEN
from jaxrnn.layer import features as features

# What the author of a cell needs
from jaxrnn.authoring import input_spec as input_spec
from jaxrnn.authoring import output as output
from jaxrnn.authoring import state_dtype as state_dtype
from jaxrnn.autodiff.dot import Dot as Dot
from jaxrnn.autodiff.products import matmul as matmul
from jaxrnn.layer import Noise as Noise

# A linear recurrence by itself, and what its transitions may be besides arrays
from jaxrnn.autodiff.linear_scan import linear_scan as linear_scan
from jaxrnn.autodiff.transitions import Complex as Complex
from jaxrnn.autodiff.transitions import Matrix as Matrix

# Nouns: cells
from jaxrnn.cells import GRU as GRU
from jaxrnn.cells import LRU as LRU
from jaxrnn.cells import LSTM as LSTM
from jaxrnn.cells import RGLRU as RGLRU
from jaxrnn.cells import S5 as S5
from jaxrnn.cells import S6 as S6
from jaxrnn.cells import AntisymmetricRNN as AntisymmetricRNN
from jaxrnn.cells import CoRNN as CoRNN
from jaxrnn.cells import CoRNNState as CoRNNState
from jaxrnn.cells import DiagonalGRU as DiagonalGRU
from jaxrnn.cells import DiagonalLSTM as DiagonalLSTM
from jaxrnn.cells import EchoState as EchoState
from jaxrnn.cells import Elman as Elman
from jaxrnn.cells import IndRNN as IndRNN
from jaxrnn.cells import LayerNormGRU as LayerNormGRU
from jaxrnn.cells import LayerNormLSTM as LayerNormLSTM
from jaxrnn.cells import LSTMState as LSTMState
from jaxrnn.cells import MinGRU as MinGRU
from jaxrnn.cells import MinLSTM as MinLSTM
from jaxrnn.cells import PeepholeLSTM as PeepholeLSTM
from jaxrnn.cells import ridge as ridge

# Nouns: layers without a recurrence
from jaxrnn.layers import Apply as Apply
from jaxrnn.layers import CausalConv as CausalConv
from jaxrnn.layers import Dense as Dense
from jaxrnn.layers import Dropout as Dropout
from jaxrnn.layers import Embed as Embed
from jaxrnn.layers import LayerNorm as LayerNorm
from jaxrnn.layers import OneHot as OneHot
from jaxrnn.layers import RMSNorm as RMSNorm
from jaxrnn.layers import TiedEmbedding as TiedEmbedding

# Nouns: combinators
from jaxrnn.combinators import Attention as Attention
from jaxrnn.combinators import AttentionCell as AttentionCell
from jaxrnn.combinators import Bidirectional as Bidirectional
from jaxrnn.combinators import LearnedState as LearnedState
from jaxrnn.combinators import RecurrentDropout as RecurrentDropout
from jaxrnn.combinators import Residual as Residual
from jaxrnn.combinators import Stack as Stack
from jaxrnn.combinators import TransformedWeights as TransformedWeights
from jaxrnn.combinators import Zoneout as Zoneout

# Functions of params
from jaxrnn.combinators import Dale as Dale
from jaxrnn.combinators import Masked as Masked
from jaxrnn.combinators import Orthogonal as Orthogonal
from jaxrnn.combinators import SpectralNorm as SpectralNorm
from jaxrnn.combinators import WeightDrop as WeightDrop

# Nouns: strategies
from jaxrnn.strategies import Associative as Associative
from jaxrnn.strategies import Auto as Auto
from jaxrnn.strategies import Chunked as Chunked
from jaxrnn.strategies import Fused as Fused
from jaxrnn.strategies import Newton as Newton
from jaxrnn.strategies import Scan as Scan
from jaxrnn.strategies import Strategy as Strategy
from jaxrnn.strategies import Wavefront as Wavefront

# A network in a file
from jaxrnn import saving as saving
from jaxrnn.saving import load as load
from jaxrnn.saving import save as save
from jaxrnn.saving import save_async as save_async

# A network as programs that run without its code
from jaxrnn import deployment as deployment
from jaxrnn.deployment import export as export
from jaxrnn.deployment import load_exported as load_exported

# Submodules, and the models, which need `training`. Each is imported at its first use, so that
# `import jaxrnn` does not import optax.
if TYPE_CHECKING:
    from jaxrnn import data as data
    from jaxrnn import decoding as decoding
    from jaxrnn import diagnostics as diagnostics
    from jaxrnn import initializers as initializers
    from jaxrnn import interop as interop
    from jaxrnn import metrics as metrics
    from jaxrnn import models as models
    from jaxrnn import online as online
    from jaxrnn import tasks as tasks
    from jaxrnn import testing as testing
    from jaxrnn import training as training
    from jaxrnn.models import EncoderDecoder as EncoderDecoder
    from jaxrnn.models import Pooled as Pooled
    from jaxrnn.models import Seq2SeqBatch as Seq2SeqBatch

_ROOMS = (
    *("data", "decoding", "diagnostics", "initializers", "interop", "metrics", "models"),
    *("online", "tasks", "testing", "training"),
)
_MODELS = ("EncoderDecoder", "Pooled", "Seq2SeqBatch")


if not TYPE_CHECKING:  # to a type checker it would make a name of every misspelling

    def __getattr__(name: str) -> Any:
        if name in _ROOMS:
            return importlib.import_module(f"jaxrnn.{name}")
        if name in _MODELS:
            return getattr(importlib.import_module("jaxrnn.models"), name)
        raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, *_MODELS})
