"""The site that is made of the pages and the docstrings (`mkdocs build --strict`)."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin

import pytest

import jaxrnn as rnn

ROOT = Path(__file__).parents[1]
ROOMS = (
    *("cells", "combinators", "layers", "saving", "strategies"),
    *(room for room in rnn._ROOMS if room != "interop"),
    *(f"interop.{room}" for room in rnn.interop._ROOMS),
    *("interop.flax.linen", "interop.flax.nnx"),
)
# What is fetched without a click, by its element and attribute.
FETCHED = {(e, "src") for e in ("script", "img", "iframe", "audio", "video", "source", "embed")}
FETCHED |= {("link", "href"), ("img", "srcset"), ("source", "srcset"), ("object", "data")}

OUTSIDE = re.compile(r"url\(\s*[\"']?(?:https?:)?//|@import")  # what a style fetches


class Page(HTMLParser):
    """The anchors of a page, where it links to, and what it fetches."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.fetched = [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (tag, name) == ("a", "name"):
                self.ids.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)
            elif (tag, name) in FETCHED:
                self.fetched.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, and its pages by their address."""
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "WARNING" not in made.stderr
    pages = {f"/{p.relative_to(folder).as_posix()}": Page(p) for p in folder.rglob("*.html")}
    return folder, pages


def public(module):
    """The names that a module offers: `__all__`, or what a package has of this library, and what a
    module defines."""
    origin = "jaxrnn." if hasattr(module, "__path__") else module.__name__
    own = [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(thing)
        and f"{getattr(thing, '__module__', '')}.".startswith(origin)
    ]
    return getattr(module, "__all__", own)


@pytest.mark.parametrize("room", ROOMS)
def test_what_shows_an_example_is_public(room):
    """A module that says what is public forgets nothing that is written for users."""
    if room.startswith("interop"):
        pytest.importorskip(room.split(".")[1])
    module = importlib.import_module(f"jaxrnn.{room}")
    for name, thing in vars(module).items():
        own = getattr(thing, "__module__", None) == module.__name__
        if own and not name.startswith("_") and ">>>" in (thing.__doc__ or ""):
            assert name in public(module), f"{name} is not in __all__"


@pytest.mark.slow
def test_every_public_name_has_a_place_in_the_reference(site):
    _, pages = site
    ids = {i for path, page in pages.items() if path.startswith("/reference/") for i in page.ids}
    top = [n for n in dir(rnn) if n[0] != "_" and not inspect.ismodule(getattr(rnn, n))]
    names = {f"jaxrnn.{name}" for name in top if name not in ("Any", "TYPE_CHECKING")}
    for room in ROOMS:
        if room.startswith("interop"):
            pytest.importorskip(room.split(".")[1])
        module = importlib.import_module(f"jaxrnn.{room}")
        names |= {f"jaxrnn.{room}.{name}" for name in public(module)}
    assert len(names) > 200
    assert names <= ids, names - ids


@pytest.mark.slow
def test_every_link_and_anchor_of_the_site_leads_somewhere(site):
    folder, pages = site
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), f"{path} has an anchor twice"
        for link in page.links + page.fetched:
            target, _, anchor = unquote(urljoin(path, link)).partition("#")
            if ":" in link or path == "/404.html":  # the web; a page without a place of its own
                continue
            target += "index.html" * target.endswith("/")
            assert (folder / target[1:]).is_file(), f"{path}: {link}"
            if anchor and target in pages:
                assert anchor in pages[target].ids, f"{path}: {link}"


@pytest.mark.slow
def test_the_site_fetches_nothing_from_elsewhere(site):
    folder, pages = site
    for path, page in pages.items():
        for link in page.fetched:
            assert not link.startswith(("http:", "https:", "//")), f"{path}: {link}"
    for path in [*folder.rglob("*.css"), *folder.rglob("*.html")]:
        found = OUTSIDE.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found}"


@pytest.mark.slow
def test_the_gallery_shows_every_picture_in_a_grid_and_in_its_section(site):
    _, pages = site
    gallery = pages["/examples/index.html"]
    for picture in (ROOT / "examples" / "results").glob("*.png"):
        shown = gallery.fetched.count(f"results/{picture.name}")
        assert shown == 2, f"{picture.name} is not in the grid and in its section"
