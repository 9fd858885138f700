"""What is computed at a step: one family of cells a file."""

from jaxrnn.cells.antisymmetric import AntisymmetricRNN as AntisymmetricRNN
from jaxrnn.cells.diagonal import DiagonalGRU as DiagonalGRU
from jaxrnn.cells.diagonal import DiagonalLSTM as DiagonalLSTM
from jaxrnn.cells.echo_state import EchoState as EchoState
from jaxrnn.cells.echo_state import ridge as ridge
from jaxrnn.cells.elman import Elman as Elman
from jaxrnn.cells.gru import GRU as GRU
from jaxrnn.cells.independent import IndRNN as IndRNN
from jaxrnn.cells.lru import LRU as LRU
from jaxrnn.cells.lru import S5 as S5
from jaxrnn.cells.lstm import LSTM as LSTM
from jaxrnn.cells.lstm import LSTMState as LSTMState
from jaxrnn.cells.minimal import MinGRU as MinGRU
from jaxrnn.cells.minimal import MinLSTM as MinLSTM
from jaxrnn.cells.normalised import LayerNormGRU as LayerNormGRU
from jaxrnn.cells.normalised import LayerNormLSTM as LayerNormLSTM
from jaxrnn.cells.oscillatory import CoRNN as CoRNN
from jaxrnn.cells.oscillatory import CoRNNState as CoRNNState
from jaxrnn.cells.peephole import PeepholeLSTM as PeepholeLSTM
from jaxrnn.cells.rg_lru import RGLRU as RGLRU
from jaxrnn.cells.s6 import S6 as S6
