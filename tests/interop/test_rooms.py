"""The rooms of `interop`, each of which asks for its package alone."""

import importlib
import sys

import pytest

from jaxrnn import interop


class Lacking:
    """What a search for modules finds where a package needs another one."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "keras":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


def anew(monkeypatch, room):
    """Import a room as if for the first time."""
    for name in [n for n in sys.modules if n.startswith(f"jaxrnn.interop.{room}")]:
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module(f"jaxrnn.interop.{room}")


@pytest.mark.parametrize("room", ["equinox", "flax", "keras", "onnx", "torch"])
def test_without_the_package_the_error_names_the_extra(monkeypatch, room):
    monkeypatch.setitem(sys.modules, room, None)
    words = rf'{room} is not installed.*pip install -e "\.\[interop\]"'
    with pytest.raises(ModuleNotFoundError, match=words):
        anew(monkeypatch, room)


def test_a_missing_backend_of_keras(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Lacking, *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=r"tensorflow is not installed.*KERAS_BACKEND"):
        anew(monkeypatch, "keras")


def test_every_room_is_listed():
    rooms = {"cudnn", "equinox", "flax", "haiku", "keras", "onnx", "torch"}
    assert rooms <= set(dir(interop))
    assert interop.cudnn.from_packed
    assert interop.haiku.from_haiku
