"""What is computed at a step: one family of cells a file."""

from jaxrnn.cells.lstm import LSTM as LSTM
from jaxrnn.cells.lstm import LSTMState as LSTMState
