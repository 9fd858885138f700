"""Music: the notes of a MusicXML score, and a MIDI file of notes."""

from __future__ import annotations

import math
import pathlib
import struct
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib
from collections.abc import Sequence
from typing import NamedTuple

SCORES = (".mxl", ".musicxml", ".xml")
"""What MusicXML files are called, zipped and plain."""

LIMIT = 1 << 28
"""How many bytes a score may unpack to: a small zip can hold any number."""

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


class Note(NamedTuple):
    """A pitch as MIDI counts them (60 is middle c), from its beginning to its end,
    in quarter notes."""

    begin: float
    end: float
    pitch: int


class Part(NamedTuple):
    """One part of a score: its notes in the order of time, and how long it is with its rests, in
    quarter notes."""

    notes: list[Note]
    length: float


def read_score(path: str | pathlib.Path) -> list[Part]:
    """The parts of a MusicXML file, zipped (.mxl) or plain, as they are written: repeats are not
    played, tied notes are one.

    Of each part the first voice, and of a chord within it the first note, are read; grace notes are
    left out.

    Raises:
      FileNotFoundError, IsADirectoryError: where there is no such file.
      ValueError: for a file that holds no MusicXML, or more than 256 MiB of it; it names the file.
    """
    path = pathlib.Path(path).expanduser()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as held:
                inside = [
                    n
                    for n in held.namelist()
                    if not n.startswith("META-INF") and n.lower().endswith(SCORES)
                ]
                content = b""
                if inside:
                    with held.open(inside[0]) as file:
                        content = file.read(LIMIT + 1)
        else:
            with path.open("rb") as file:
                content = file.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise ValueError(f"it unpacks to more than {LIMIT >> 20} MiB")
        if b"<!ENTITY" in content:  # entities of entities grow without bound
            raise ValueError("it declares entities")
        return [_part(part) for part in ElementTree.fromstring(content).findall("part")]
    except OSError:
        raise
    except (ElementTree.ParseError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path}: holds no MusicXML ({error})") from None
    except (ValueError, LookupError, ArithmeticError, RuntimeError) as error:
        # A number that is none, a step that is no letter of a note, a zip that needs a password.
        raise ValueError(f"{path}: holds no MusicXML that can be read ({error!r})") from None


def _part(part: ElementTree.Element) -> Part:
    now, unit, notes = 0.0, 1.0, []
    for measure in part.findall("measure"):
        for item in measure:
            if item.tag == "attributes" and item.findtext("divisions"):
                unit = _positive(item.findtext("divisions") or "1")
            if item.tag == "backup":  # another voice follows
                break
            if (
                item.tag not in ("note", "forward")
                or item.find("grace") is not None
                or item.find("chord") is not None
            ):
                continue
            duration = item.findtext("duration") or "0"
            end, pitch = now + _positive(duration, zero=True) / unit, item.find("pitch")
            if pitch is not None:
                octave, alter = (
                    int(pitch.findtext("octave") or 4),
                    float(pitch.findtext("alter") or 0),
                )
                note = Note(
                    now,
                    end,
                    12 * (octave + 1) + SEMITONES[pitch.findtext("step") or "C"] + round(alter),
                )
                tied = any(tie.get("type") == "stop" for tie in item.findall("tie"))
                if tied and notes and notes[-1].end == now and notes[-1].pitch == note.pitch:
                    notes[-1] = note._replace(begin=notes[-1].begin)
                else:
                    notes.append(note)
            now = end
    return Part(notes, now)


def _positive(text: str, zero: bool = False) -> float:
    """A number of a score that counts time, which is finite and does not run backwards."""
    number = float(text)
    if not (0 <= number < math.inf) or not (number or zero):
        raise ValueError(f"{text!r} where a {'length' if zero else 'number of divisions'} is due")
    return number


def midi(parts: Sequence[Sequence[Note]], tempo: float = 80, program: int = 19) -> bytes:
    """A standard MIDI file, one track a part.

    Args:
      parts: notes, in any order.
      tempo: quarter notes a minute.
      program: the instrument by its General MIDI number less one; 19 is a church organ.

    Raises:
      ValueError: for a note that begins before 0 or ends before it begins, at no finite time, or
        too late for a file (2**28 ticks), a pitch or a program outside 0 to 127, or a tempo that
        is not above 3.6 and finite.

    Example:
      >>> content = midi([[Note(0, 1, 60), Note(1, 3, 64)]])
      >>> content[:4], content.count(b"MTrk")
      (b'MThd', 1)

    The Complete MIDI 1.0 Detailed Specification, 1996.
    """

    if not 0 <= program <= 127:
        raise ValueError(f"midi: got program={program}; need 0 to 127. 19 is a church organ.")
    if not 6e7 / 2**24 < tempo < 6e7:
        raise ValueError(f"midi: got tempo={tempo}; need quarter notes a minute. Pass 80, say.")
    for note in (note for notes in parts for note in notes):
        begin, end, pitch = note
        # The format's times have 28 bits; a negative one would never end.
        if not 0 <= begin <= end < 2**28 / 480 or pitch not in range(128):
            raise ValueError(
                f"midi: got {note}; need 0 <= begin <= end in quarter notes, and a pitch from 0 to "
                "127. Shift the notes so that the first begins at 0."
            )

    def delta(ticks: int) -> bytes:
        """Seven bits a byte, the first ones marked."""
        parts = [ticks & 127]
        while ticks := ticks >> 7:
            parts.append(ticks & 127 | 128)
        return bytes(reversed(parts))

    quarter, tracks = 480, []
    for i, notes in enumerate(parts):
        channel = (i + i // 9) % 16  # the tenth is for drums
        events = (
            [(0, 0, bytes([0xFF, 0x51, 3]) + round(6e7 / tempo).to_bytes(3, "big"))]
            if i == 0
            else []
        )
        events.append((0, 0, bytes([0xC0 | channel, program])))
        for begin, end, pitch in notes:  # at one time an end comes before a beginning
            events += [
                (round(begin * quarter), 2, bytes([0x90 | channel, pitch, 80])),
                (round(end * quarter), 1, bytes([0x80 | channel, pitch, 0])),
            ]
        track, now = b"", 0
        for tick, _, event in sorted(events):
            track, now = track + delta(tick - now) + event, tick
        track += delta(0) + bytes([0xFF, 0x2F, 0])
        tracks.append(b"MTrk" + struct.pack(">I", len(track)) + track)
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), quarter) + b"".join(tracks)
