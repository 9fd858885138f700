"""A network in one file: its configuration beside its arrays."""

from jaxrnn.saving.configuration import from_json as from_json
from jaxrnn.saving.configuration import to_json as to_json
from jaxrnn.saving.network import Saved as Saved
from jaxrnn.saving.network import load as load
from jaxrnn.saving.network import save as save
from jaxrnn.saving.network import save_async as save_async
