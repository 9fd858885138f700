"""What mkdocs is told while it builds the site.

The site has the repository's shape, so that a relative link leads to the same place in both. Its
pages are README.md and every file that a page leads to, however far. Beside them there are the
reference, and a page with the source of each example.
"""

import json
import pathlib
import re

import reference
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parents[2]
BEGINNINGS = "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/index.md", "docs/_site/site.css"
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(r"(\]\([^)#:\s]+)\.py\)")  # a link to a program, and its page


def links(path: pathlib.Path) -> list[pathlib.Path]:
    """The files that a page of Markdown links to, or shows."""
    text = CODE.sub("", path.read_text(encoding="utf-8"))
    return [(path.parent / link).resolve() for link in LINK.findall(text)]


def reached() -> list[pathlib.Path]:
    """Every file that is found from the beginnings; what is not there is left to mkdocs."""
    found = [ROOT / name for name in BEGINNINGS]
    for path in found:
        if path.suffix == ".md":
            found += [p for p in dict.fromkeys(links(path)) if p.is_file() and p not in found]
    return found


def on_config(config):
    """The navigation: guides in the order of docs/index.md, then all else."""
    for read in (reference.source, reference.tree, reference.said_again, reference.names):
        read.cache_clear()  # `mkdocs serve` builds more than once
    table = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    rooms = reference.rooms()
    guides = re.findall(r"^\|.*\[(\w+)\]\((\w+\.md)\) \|$", table, re.MULTILINE)
    config.nav = [
        {"Home": "README.md"},
        {
            "Guides": [
                "docs/index.md",
                *({title(name): f"docs/{path}"} for name, path in guides),
            ]
        },
        {"Gallery": "examples/README.md"},
        {"Reference": ["reference/index.md", *({room: f"reference/{room}.md"} for room in rooms)]},
        {"Benchmarks": "benchmarks/README.md"},
        {"Project": [{"Contributing": "CONTRIBUTING.md"}, {"Changes": "CHANGELOG.md"}]},
    ]
    return config


def title(name: str) -> str:
    """A file's name as a title."""
    return name[0].upper() + name[1:].replace("_", " ")


def on_files(files, *, config):
    """The theme's files, those that are reached, and the pages that are made."""
    made = reference.pages()
    kept = [f for f in files if f.src_dir != config.docs_dir]
    for path in reached():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py":
            made[name.removesuffix(".py") + ".md"] = program(path)
        else:
            kept.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for path in (ROOT / "examples").glob("*.py"):
        made[f"examples/{path.stem}.md"] = program(path)
    return Files(kept + [File.generated(config, name, content=t) for name, t in made.items()])


def program(path: pathlib.Path) -> str:
    """A page with the source of a program."""
    name = path.relative_to(ROOT).as_posix()
    return f"# {name}\n\n````python\n{path.read_text(encoding='utf-8')}````\n"


def on_page_markdown(markdown, *, page, config, files):
    """A link to a program leads to its page, and the gallery begins with its pictures."""
    if page.parent is None:  # there is nothing beside it
        page.meta["hide"] = ["navigation"]
    if page.file.src_uri == "examples/README.md":
        markdown = gallery(markdown)
    return PROGRAM.sub(r"\1.md)", markdown)


def on_page_content(html, *, page, config, files):
    """A search is of what is said, not of the source beside it."""
    source = '<details class="mkdocstrings-source"'
    return html.replace(source, f"{source} data-search-exclude")


def gallery(markdown: str) -> str:
    """The examples' page with their pictures in a grid above its table, and links to sources."""
    names = re.findall(r"^## (\w+)$", markdown, re.MULTILINE)
    shown = "\n".join(card(name) for name in names)
    head, mark, rest = markdown.partition("\n| example |")
    sources = re.sub(
        r"^(```sh\npython examples/(\w+\.py).*?\n```)$",
        r"\1\n\n[Its source](\2)",
        rest,
        flags=re.DOTALL | re.MULTILINE,
    )
    return f'{head}\n<div class="gallery" markdown>\n{shown}\n</div>\n{mark}{sources}'


def card(name: str) -> str:
    """A picture with its title: what the example shows, from its record."""
    record = json.loads((ROOT / f"examples/results/{name}.json").read_text(encoding="utf-8"))
    says = record["shows"][0].upper() + record["shows"][1:]
    return (
        f"<figure markdown>\n[![{name}](results/{name}.png){{ loading=lazy }}](#{name})\n"
        f"<figcaption markdown>[{name}](#{name}) {says}</figcaption>\n</figure>\n"
    )
