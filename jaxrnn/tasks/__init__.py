"""The field's synthetic tasks: pure functions from a key to a `data.Batch`, time first.

In all of them `batch.targets` is a `Scored`: the right answers `values [T, B, ...]`, and `where [T,
B]` they count. A task with one answer for a whole sequence has it at the last valid step, a task
with an answer at every step has them everywhere. So any loss of `training` serves as
`scored(loss)`, in `bptt_step` under any strategy. For a `Pooled` net `targets.answer [B, ...]` is
the one answer.
"""

from jaxrnn.tasks.languages import dyck as dyck
from jaxrnn.tasks.languages import dyck_allowed as dyck_allowed
from jaxrnn.tasks.languages import dyck_floor as dyck_floor
from jaxrnn.tasks.languages import dyck_recognition as dyck_recognition
from jaxrnn.tasks.operations import listops as listops
from jaxrnn.tasks.recall import adding as adding
from jaxrnn.tasks.recall import copy as copy
from jaxrnn.tasks.recall import copy_baseline as copy_baseline
from jaxrnn.tasks.recall import delayed_match as delayed_match
from jaxrnn.tasks.recall import parity as parity
from jaxrnn.tasks.recall import sequential_parity as sequential_parity
from jaxrnn.tasks.recall import temporal_order as temporal_order
from jaxrnn.tasks.scored import Scored as Scored
from jaxrnn.tasks.scored import batches as batches
from jaxrnn.tasks.scored import scored as scored
