"""Whether a folder is as it was written, and that one process alone writes to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator

from jaxrnn import errors

SUMS = "SHA256SUMS"


def checksums(folder: pathlib.Path) -> str:
    """A line for each file of a folder, as `sha256sum` writes and checks them."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / SUMS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    return "".join(lines)


def damage(folder: pathlib.Path) -> str | None:
    """What is wrong with a folder that holds its checksums, or None.

    The lines are made anew and compared as bytes, so that a file that is missing or was added is
    seen, and a change of the checksums themselves too.
    """
    if not (folder / SUMS).is_file():
        return f"{SUMS} is missing"
    try:
        held, found = (folder / SUMS).read_bytes(), checksums(folder).encode()
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    if held == found:
        return None
    held, found = (
        dict(line.split(b"  ", 1)[::-1] for line in text.splitlines() if b"  " in line)
        for text in (held, found)
    )
    for name in sorted(held.keys() | found.keys()):
        if held.get(name) != found.get(name):
            what = "is missing" if name not in found else "is not what was written"
            return f"{name.decode(errors='replace')} {what}"
    return f"{SUMS} is not what was written"


HELD: set[pathlib.Path] = set()
"""Where this process writes: the system's lock tells processes apart, not loops of one process."""


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator[None]:
    """Hold a directory's lock; the system lets go of it when the process ends, however it ends,
    and whatever children it leaves.

    Raises:
      BlockingIOError: where another writer holds it; it names its process.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    place = directory.resolve()
    if place in HELD:
        raise errors.another_writer(directory, str(os.getpid()))
    file = os.open(place / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # systems differ in what they say
            raise errors.another_writer(directory, os.read(file, 32).decode()) from None
        except OSError:
            pass  # a file system without locks
        # Who it is, for the message above; a full disk is no reason to stop here.
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, str(os.getpid()).encode())
        HELD.add(place)
        yield
    finally:
        HELD.discard(place)
        os.close(file)
