"""A network as programs: exported into one file, and run without its code."""

from jaxrnn.deployment.exported import Exported as Exported
from jaxrnn.deployment.exporting import export as export
from jaxrnn.deployment.loading import load_exported as load_exported
