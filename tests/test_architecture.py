"""The layout and the direction of imports."""

import ast
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

import jaxrnn as rnn

ROOT = Path(rnn.__file__).parent

# What a module may import of the library; a folder stands for each of its files.
MAY = {
    "errors": {"errors"},
    "draws": set(),
    "initializers": {"draws", "errors", "fields"},
    "heap": set(),
    "autodiff": {"autodiff", "errors"},
    "controls": {"autodiff", "errors"},
    "fields": {"errors"},
    "layer": {"controls", "errors", "fields"},
    "axes": {"layer"},
    "cell": {"autodiff", "layer"},
    "composite": {"axes", "autodiff", "cell", "controls", "errors", "initializers", "layer"},
    "params": {"axes", "composite", "errors", "layer"},
    "advance": {"axes", "composite", "controls", "errors", "layer", "params"},
    "authoring": {"autodiff", "errors", "layer"},
    "cells": {"authoring", "autodiff", "cell", "cells", "errors", "initializers", "layer"},
    "layers": {
        *{"authoring", "autodiff", "composite", "controls", "errors", "initializers", "layer"},
        "layers",
    },
    "combinators": {
        *{
            "axes",
            "authoring",
            "autodiff",
            "cell",
            "combinators",
            "composite",
            "controls",
            "errors",
        },
        *{"fields", "initializers", "layer", "layers"},
    },
    "strategies": {
        "axes",
        "autodiff",
        "cell",
        "composite",
        "controls",
        "errors",
        *{"fields", "layer", "params", "strategies"},
    },
    "pieces": {"axes", "autodiff", "controls", "layer", "strategies"},
    "wavefront": {
        *{"axes", "autodiff", "cell", "composite", "controls", "layer", "pieces", "strategies"},
    },
    "sequence": {
        *{"axes", "autodiff", "cell", "composite", "controls", "layer", "pieces", "strategies"},
        "wavefront",
    },
    "unroll": {
        *{"axes", "autodiff", "composite", "controls", "errors", "layer", "params", "pieces"},
        *{"sequence", "strategies"},
    },
    "newton_solve": {"axes", "cell", "controls", "errors", "layer", "strategies", "unroll"},
    "diagnostics": {
        *{"axes", "autodiff", "cell", "composite", "controls", "diagnostics", "errors", "layer"},
        *{"sequence", "strategies", "unroll"},
    },
    "saving": {"axes", "composite", "errors", "initializers", "layer", "saving"},
    "deployment": {
        *{"advance", "axes", "composite", "deployment", "errors", "layer", "saving"},
        *{"strategies", "unroll"},
    },
    "online": {
        *{"advance", "autodiff", "axes", "cell", "composite", "controls", "errors", "fields"},
        *{"layer", "online", "params", "strategies", "training", "unroll"},
    },
}
PUBLIC_ONLY = {
    "training",
    "decoding",
    "data",
    "testing",
    "interop",
    "models",
    "metrics",
    "tasks",
}
PEERS = {"flax", "onnx", "torch", "keras", "h5py", "equinox", "haiku"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                [f"{node.module}.{a.name}" for a in node.names]
                if node.module == "jaxrnn"
                else [node.module]
            )
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


DECLARED = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]


def declared(*extras):
    """The modules that the package and these extras bring."""
    needs = DECLARED["dependencies"] + [
        n for extra in extras for n in DECLARED["optional-dependencies"][extra]
    ]
    for need in needs:  # an extra made of extras
        needs += [
            n
            for e in re.findall(r"jaxrnn\[(.*)\]", need)
            for extra in e.split(",")
            for n in DECLARED["optional-dependencies"][extra]
        ]
    names = {re.match(r"[\w-]+", need)[0] for need in needs}
    return (
        {
            {"orbax-checkpoint": "orbax", "dm-haiku": "haiku", "protobuf": "google"}.get(
                n, n.replace("-", "_")
            )
            for n in names
        }
        | set(sys.stdlib_module_names)
        | {"jaxrnn"}
    )


IMPORTERS = [
    ("jaxrnn", ["interop", "translate"]),
    ("examples", ["all-examples"]),
    ("benchmarks", ["bench"]),
    ("tests", ["test"]),
]


@pytest.mark.parametrize(("folder", "extras"), IMPORTERS)
def test_every_package_that_is_imported_is_declared(folder, extras):
    files = list((ROOT.parent / folder).rglob("*.py"))
    own = (
        {path.stem for path in (ROOT.parent / folder).glob("*.py")}
        | {folder}
        | {"tests": {"benchmarks", "helpers", "support"}, "examples": {"support"}}.get(
            folder, set()
        )
    )
    for path in files:
        assert {name.split(".")[0] for name in imports(path)} <= declared(*extras) | own, path


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_imports_point_one_way():
    for path in ROOT.rglob("*.py"):
        if room(path) not in MAY:
            assert room(path) in PUBLIC_ONLY | {"__init__"}, (
                f"{path.name} has no place in the layout"
            )
            continue
        inside = {name.split(".")[1] for name in imports(path) if name.startswith("jaxrnn.")}
        assert inside <= MAY[room(path)], f"{path.name} imports {inside - MAY[room(path)]}"


def test_every_message_has_a_name_of_its_own():
    names = [
        node.name
        for path in (ROOT / "errors").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}


def test_peers_are_imported_on_request_only():
    for path in ROOT.rglob("*.py"):
        if room(path) != "interop":
            assert not PEERS & {name.split(".")[0] for name in imports(path)}, path
    body = ast.parse((ROOT / "interop" / "__init__.py").read_text()).body
    imported = [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imported == ["import importlib", "from typing import TYPE_CHECKING, Any"]


def test_every_public_thing_is_documented():
    for name in dir(rnn):
        thing = getattr(rnn, name)
        if not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing)):
            assert thing.__doc__, f"{name} has no docstring"
            assert not thing.__doc__.startswith(f"{name}("), (
                f"{name} has no docstring but its signature"
            )


def test_arguments_have_the_same_names_in_the_same_order():
    shared = ["cell", "params", "xs", "state", "mask", "resets", "reverse", "key", "strategy"]
    looks = rnn.diagnostics.record, rnn.diagnostics.gradient_norms, rnn.diagnostics.gradient_matrix
    for verb in (rnn.unroll, rnn.fold, *looks):
        names = [n for n in inspect.signature(verb).parameters if n in shared]
        assert names == [n for n in shared if n in names]
