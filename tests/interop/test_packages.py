"""Without a package, or the backend that Keras is set to, the error names the extra."""

import importlib
import sys

import pytest


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


@pytest.mark.parametrize("room", ["flax", "keras", "onnx", "torch"])
def test_a_missing_package_names_the_extra(monkeypatch, room):
    monkeypatch.setitem(sys.modules, room, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{room} is not installed.*\[interop\]"):
        anew(monkeypatch, room)


def test_a_missing_backend_of_keras(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Lacking, *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=r"tensorflow is not installed.*KERAS_BACKEND"):
        anew(monkeypatch, "keras")
