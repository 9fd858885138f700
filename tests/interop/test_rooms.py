"""The rooms of `interop`, each of which asks for its package alone."""

import importlib
import sys

import pytest

from jaxrnn import interop


@pytest.mark.parametrize("name", ["equinox", "torch"])
def test_without_the_package_the_error_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"jaxrnn.interop.{name}", raising=False)
    words = rf'{name} is not installed.*pip install -e "\.\[interop\]"'
    with pytest.raises(ModuleNotFoundError, match=words):
        importlib.import_module(f"jaxrnn.interop.{name}")


def test_every_room_is_listed():
    assert {"cudnn", "equinox", "flax", "haiku", "onnx", "torch"} <= set(dir(interop))
    assert interop.cudnn.from_packed
    assert interop.haiku.from_haiku
