"""Losses over masks, pure steps over optax, and a thin loop around them."""

from jaxrnn.data import Batch as Batch
from jaxrnn.training.checkpoints import restore as restore
from jaxrnn.training.ctc import ctc as ctc
from jaxrnn.training.evaluation import evaluate as evaluate
from jaxrnn.training.evaluation import score as score
from jaxrnn.training.fit import fit as fit
from jaxrnn.training.history import Best as Best
from jaxrnn.training.history import History as History
from jaxrnn.training.losses import MaskedMean as MaskedMean
from jaxrnn.training.losses import binary_cross_entropy as binary_cross_entropy
from jaxrnn.training.losses import cross_entropy as cross_entropy
from jaxrnn.training.losses import gaussian_nll as gaussian_nll
from jaxrnn.training.losses import mse as mse
from jaxrnn.training.network import restore_network as restore_network
from jaxrnn.training.optimizers import optimizer as optimizer
from jaxrnn.training.optimizers import warmup_cosine as warmup_cosine
from jaxrnn.training.penalties import activation_penalty as activation_penalty
from jaxrnn.training.penalties import slowness_penalty as slowness_penalty
from jaxrnn.training.scheduled import scheduled_sampling as scheduled_sampling
from jaxrnn.training.state import Metrics as Metrics
from jaxrnn.training.state import TrainState as TrainState
from jaxrnn.training.steps import bptt_step as bptt_step
from jaxrnn.training.steps import make_step as make_step
from jaxrnn.training.steps import truncated_bptt_step as truncated_bptt_step
from jaxrnn.training.truncated import truncated as truncated
from jaxrnn.training.vanishing import vanishing_penalty as vanishing_penalty
