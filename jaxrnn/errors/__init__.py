"""Every error message, in one place: what the call got, what it needs, and what to do.

`TypeError` for a wrong kind of thing, `ValueError` for a wrong value. All checks look at shapes
and dtypes alone, while JAX traces, so they cost nothing at run time.
"""

from jaxrnn.errors.arguments import *  # noqa: F403
from jaxrnn.errors.attention import *  # noqa: F403
from jaxrnn.errors.configuration import *  # noqa: F403
from jaxrnn.errors.data import *  # noqa: F403
from jaxrnn.errors.decoding import *  # noqa: F403
from jaxrnn.errors.deployment import *  # noqa: F403
from jaxrnn.errors.devices import *  # noqa: F403
from jaxrnn.errors.diagnostics import *  # noqa: F403
from jaxrnn.errors.fit import *  # noqa: F403
from jaxrnn.errors.initializers import *  # noqa: F403
from jaxrnn.errors.inputs import *  # noqa: F403
from jaxrnn.errors.interop import *  # noqa: F403
from jaxrnn.errors.losses import *  # noqa: F403
from jaxrnn.errors.message import *  # noqa: F403
from jaxrnn.errors.metrics import *  # noqa: F403
from jaxrnn.errors.models import *  # noqa: F403
from jaxrnn.errors.online import *  # noqa: F403
from jaxrnn.errors.onnx import *  # noqa: F403
from jaxrnn.errors.optimizers import *  # noqa: F403
from jaxrnn.errors.products import *  # noqa: F403
from jaxrnn.errors.recurrences import *  # noqa: F403
from jaxrnn.errors.saving import *  # noqa: F403
from jaxrnn.errors.strategies import *  # noqa: F403
from jaxrnn.errors.tasks import *  # noqa: F403
from jaxrnn.errors.testing import *  # noqa: F403
from jaxrnn.errors.training import *  # noqa: F403
from jaxrnn.errors.verbs import *  # noqa: F403
from jaxrnn.errors.weights import *  # noqa: F403
