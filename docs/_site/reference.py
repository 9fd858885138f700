"""The pages of the reference, made from the names that the packages themselves make public.

A room is a package or a module that jaxrnn's own `__init__` names. Each has a page.
"""

import ast
import functools
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
TOP = "jaxrnn"


@functools.cache
def source(module: str) -> pathlib.Path | None:
    """The file of a module or a package; None for a name in one."""
    path = ROOT / module.replace(".", "/")
    found = [p for p in (path / "__init__.py", path.with_suffix(".py")) if p.exists()]
    return found[0] if found else None


@functools.cache
def tree(module: str) -> ast.Module:
    """What a module says, read and not run."""
    path = source(module)
    assert path, module
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def said_again(module: str) -> dict[str, str]:
    """Where names come from that are a module's own too: `from m import x as x` gives m.x."""
    return {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def public(module: str) -> list[str]:
    """The public names of a module in their order: `__all__`; or else what a package says again,
    and what a module defines.
    """
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    file = source(module)
    if file and file.stem != "__init__":
        made = [n for n in tree(module).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        return [node.name for node in made if not node.name.startswith("_")]
    return [name for name, path in said_again(module).items() if not source(path)]


def rooms(module: str = TOP) -> list[str]:
    """A module, and the rooms in it: those that it names, and those whose names it says again."""
    found = [module]
    for path in said_again(module).values():
        inner = path if source(path) else path.rpartition(".")[0]
        if inner not in found and is_room(inner, module):
            found += rooms(inner)
    return found


def is_room(path: str, parent: str) -> bool:
    """Whether it is a package within a module, or a module that it names."""
    file = source(path)
    named = path in said_again(parent).values()
    return path.startswith(f"{parent}.") and bool(file) and (named or file.stem == "__init__")


def home(module: str, name: str) -> str:
    """Where the thing is defined that a module's name stands for."""
    while name in said_again(module):
        module, _, name = said_again(module)[name].rpartition(".")
    return f"{module}.{name}"


@functools.cache
def names() -> dict[str, tuple[str, str]]:
    """The definition of every public thing: the room whose page has it, and the name users say."""
    found: dict[str, tuple[str, str]] = {}
    top = {home(TOP, name): name for name in public(TOP)}
    for room in [*rooms()[1:], TOP]:  # what the rooms leave over is on the first page
        for name in public(room):
            path = home(room, name)
            inside = path.startswith(f"{room}.")
            if path not in found or (inside and not path.startswith(f"{found[path][0]}.")):
                said = f"{TOP}.{top[path]}" if path in top else f"{room}.{name}"
                found[path] = (room, said)
    return found


def groups() -> dict[str, str]:
    """The comment above each line of jaxrnn's `__init__` that says a name again."""
    found, title = {}, ""
    path = source(TOP)
    assert path
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            title = line.removeprefix("# ").removeprefix("Nouns: ")
        elif match := re.fullmatch(r"from .* import (\w+) as \1", line):
            found[match[1]] = title[0].upper() + title[1:]
    return found


def anchors(path: str, *said: str) -> str:
    """Places to link to, of every name that users say; that of the path itself is mkdocstrings'."""
    return "".join(f'<a id="{name}"></a>' for name in dict.fromkeys(said) if name != path)


def entry(path: str, room: str, name: str, level: int) -> str:
    """The place of one thing on its page."""
    said = names()[path][1]
    options = f'heading: "{said}"\n      toc_label: "{name}"'
    return (
        f"{anchors(path, said, f'{room}.{name}')}\n\n::: {path}\n    options:\n"
        f"      {options}\n      heading_level: {level}\n"
    )


def page(room: str) -> str:
    """The Markdown of a room's page."""
    hidden = "show_root_heading: false, show_root_toc_entry: false"
    intro = f"::: {room}\n    options: {{members: false, {hidden}}}\n"
    lines, above = [f"# {room}\n", intro], groups() if room == TOP else {}
    title = None
    for name in public(room):
        path = home(room, name)
        where, said = names()[path]
        if where == room:
            if above and above[name] != title:
                lines.append(f"## {(title := above[name])}\n")
            lines.append(entry(path, room, name, 3 if above else 2))
        elif room != TOP:
            again = f"{room}.{name}"
            lines.append(f"{anchors(path, again)}`{again}` is [`{said}`]({where}.md#{said}).\n")
    return "\n".join(lines)


def overview() -> str:
    """The reference's first page: every room with its names."""
    lines = ["# Reference\n", "Every public name, by the module that it is in.\n"]
    for room in rooms():
        summary = (ast.get_docstring(tree(room)) or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"## [{room}]({room}.md)\n\n{summary}\n")
        listed = [s for where, s in names().values() if where == room]
        lines.append(", ".join(f"[`{s.rpartition('.')[2]}`]({room}.md#{s})" for s in listed) + "\n")
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """The Markdown of each page by its path in the site."""
    return {"reference/index.md": overview()} | {
        f"reference/{room}.md": page(room) for room in rooms()
    }
