"""Scores as they are written, and MIDI files read back."""

import struct
import zipfile

import pytest

from support import scores
from support.scores import Note, midi, read_score


def note(step, octave, duration, alter=0, more=""):
    pitch = (
        f"<pitch><step>{step}</step><alter>{alter}</alter><octave>{octave}</octave></pitch>"
        if step
        else "<rest/>"
    )
    return f"<note>{more}{pitch}<duration>{duration}</duration></note>"


PIECE = f"""<score-partwise><part id="P1">
<measure><attributes><divisions>2</divisions></attributes>
{note("C", 4, 2)}{note("F", 4, 1, 1)}{note(None, 0, 1)}</measure>
<measure><attributes><divisions>4</divisions></attributes>
{note("B", 3, 4, -1)}{note("D", 5, 1, more="<chord/>")}
<note><grace/><pitch><step>A</step><octave>4</octave></pitch></note>
{note("C", 4, 4).replace("</note>", '<tie type="start"/></note>')}</measure>
<measure>{note("C", 4, 2).replace("</note>", '<tie type="stop"/></note>')}
{note("C", 4, 2)}<backup><duration>4</duration></backup>{note("E", 2, 4)}</measure>
</part><part id="P2"><measure>{note("G", 2, 9)}</measure></part></score-partwise>"""
NOTES = [Note(0, 1, 60), Note(1, 1.5, 66), Note(2, 3, 58), Note(3, 4.5, 60), Note(4.5, 5, 60)]


def test_a_score_is_read_as_it_is_written(tmp_path):
    (tmp_path / "a.xml").write_text(PIECE)
    with zipfile.ZipFile(tmp_path / "b.mxl", "w") as packed:
        packed.writestr("META-INF/container.xml", "<container/>")
        packed.writestr("b.musicxml", PIECE)
    for name in ("a.xml", "b.mxl"):
        first, second = read_score(tmp_path / name)
        assert first == (NOTES, 5)
        assert second == ([Note(0, 9, 43)], 9)


def test_what_is_no_score_is_said_so(tmp_path):
    (tmp_path / "a.xml").write_bytes(b"\xff\xfe not a score")
    with zipfile.ZipFile(tmp_path / "b.mxl", "w") as packed:
        packed.writestr("readme.txt", "nothing")
    for name in ("a.xml", "b.mxl"):
        with pytest.raises(ValueError, match=f"{name}: holds no MusicXML"):
            read_score(tmp_path / name)


def parsed(content):
    """The notes of each track, and all other events, by the rules of the format alone."""
    assert content[:4] == b"MThd"
    size, kind, count, quarter = struct.unpack(">IHHH", content[4:14])
    assert (size, kind) == (6, 1)
    place, tracks, others = 14, [], []
    for _ in range(count):
        assert content[place : place + 4] == b"MTrk"
        end = place + 8 + struct.unpack(">I", content[place + 4 : place + 8])[0]
        place, now, open_notes, notes = place + 8, 0, {}, []
        while place < end:
            ticks = 0
            while True:
                byte, place = content[place], place + 1
                ticks = ticks << 7 | byte & 127
                if byte < 128:
                    break
            now, status = now + ticks, content[place]
            if status == 0xFF:
                length = content[place + 2]
                others.append(content[place + 1 : place + 3 + length])
                place += 3 + length
            elif status >> 4 == 0xC:
                others.append(content[place : place + 2])
                place += 2
            else:
                pitch = content[place + 1]
                if status >> 4 == 9:
                    assert pitch not in open_notes
                    open_notes[pitch] = now
                else:
                    notes.append(Note(open_notes.pop(pitch) / quarter, now / quarter, pitch))
                place += 3
        assert (place, open_notes) == (end, {})
        tracks.append(notes)
    assert place == len(content)
    return tracks, others


def test_a_midi_file_read_back():
    long = [Note(0, 300, 36), Note(300, 300.5, 36)]
    tracks, others = parsed(midi([NOTES, long, []], tempo=120, program=5))
    assert tracks == [NOTES, long, []]
    assert bytes([0x51, 3]) + (500_000).to_bytes(3, "big") in others
    assert [o[0] for o in others if o[0] >> 4 == 0xC] == [0xC0, 0xC1, 0xC2]


@pytest.mark.parametrize(
    "foul",
    [
        PIECE.replace("<divisions>2", "<divisions>0"),
        PIECE.replace("<divisions>2", "<divisions>many"),
        PIECE.replace("<duration>2", "<duration>-2", 1),
        PIECE.replace("<duration>2", "<duration>nan", 1),
        PIECE.replace("<step>C", "<step>X", 1),
        PIECE.replace("<octave>4", "<octave>x", 1),
        PIECE.replace("<alter>0", "<alter>inf", 1),
        PIECE[:-40],
        "",
        '<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><a>&c;</a>',
    ],
)
def test_malformed_scores_are_named(tmp_path, foul):
    assert foul != PIECE
    (tmp_path / "a.xml").write_text(foul)
    with pytest.raises(ValueError, match=r"a\.xml: holds no MusicXML"):
        read_score(tmp_path / "a.xml")


def test_a_zip_is_read_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "LIMIT", 1 << 16)
    path = tmp_path / "bomb.mxl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("b.musicxml", "<a>" + " " * (1 << 20) + "</a>")
    with pytest.raises(ValueError, match=r"bomb\.mxl: .*unpacks to more"):
        read_score(path)
    content = bytearray(path.read_bytes())
    content[60:70] = bytes(10)  # within what is packed
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bomb\.mxl: "):
        read_score(path)
    with pytest.raises(FileNotFoundError):
        read_score(tmp_path / "none.mxl")


@pytest.mark.parametrize(
    ("notes", "settings", "words"),
    [
        ([Note(-1, 1, 60)], {}, "begin=-1.*need 0 <= begin"),
        ([Note(2, 1, 60)], {}, "need 0 <= begin"),
        ([Note(0, float("inf"), 60)], {}, "need 0 <= begin"),
        ([Note(float("nan"), 1, 60)], {}, "need 0 <= begin"),
        ([Note(0, 1e9, 60)], {}, "need 0 <= begin"),
        ([Note(0, 1, 128)], {}, "a pitch from 0 to 127"),
        ([Note(0, 1, -1)], {}, "a pitch from 0 to 127"),
        (NOTES, {"program": 128}, "program=128"),
        (NOTES, {"tempo": 0}, "tempo=0"),
        (NOTES, {"tempo": 2}, "tempo=2"),
        (NOTES, {"tempo": float("nan")}, "tempo=nan"),
    ],
)
def test_what_no_midi_file_holds_is_refused(notes, settings, words):
    """A negative time was written without end: the check comes before any is written."""
    with pytest.raises(ValueError, match=words):
        midi([notes], **settings)
