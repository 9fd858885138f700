"""A chorale out of a chord: the example from end to end."""

import json
import shutil

import numpy as np
import pytest

from helpers.running import example
from support.scores import Note, Part

music = example("music")
TINY = [
    "--hidden",
    "8",
    "--embed",
    "4",
    "--batch",
    "2",
    "--segment",
    "16",
    "--seeds",
    "1",
    "--steps",
    "6",
    "--length",
    "8",
]
MAJOR = [("C", 5), ("G", 4), ("E", 4), ("C", 3)]


def piece(rng, measures=4):
    """Four voices in quarters and eighths."""
    parts = []
    for step, octave in MAJOR:
        notes = []
        for _ in range(4 * measures):
            name = rng.choice(["C", "D", "E", step])
            pitch = f"<pitch><step>{name}</step><octave>{octave}</octave></pitch>"
            note = f"<note>{pitch}<duration>{{}}</duration></note>"
            notes.append(note.format(2) if rng.random() < 0.7 else note.format(1) * 2)
        body = "".join(
            f"<measure>{''.join(notes[4 * i : 4 * i + 4])}</measure>" for i in range(measures)
        )
        first = "<measure><attributes><divisions>2</divisions></attributes>"
        parts.append(f"<part>{body.replace('<measure>', first, 1)}</part>")
    return f"<score-partwise>{''.join(parts)}</score-partwise>"


@pytest.fixture
def corpus(tmp_path):
    folder, rng = tmp_path / "corpus", np.random.default_rng(0)
    folder.mkdir()
    for i in range(24):
        (folder / f"{i}.xml").write_text(piece(rng))
    (folder / "solo.musicxml").write_text("<score-partwise><part/></score-partwise>")
    (folder / "notes.txt").write_text("not a score")
    return folder


def test_it_learns_scores_and_writes(corpus, tmp_path, capsys):
    options = [*TINY, "--corpus", str(corpus), "--out", str(tmp_path / "out")]
    music.main([*options, "--keep", str(tmp_path / "kept" / "music")])
    said = capsys.readouterr().out
    assert "first-order Markov, chord by chord" in said
    run = json.loads((tmp_path / "kept" / "music.json").read_text())["runs"][0]
    assert np.isclose(run["nats"], sum(run[voice] for voice in music.VOICES.values()))
    assert (tmp_path / "kept" / "music.png").read_bytes().startswith(b"\x89PNG")
    first = (tmp_path / "out" / "chorale.mid").read_bytes()
    assert first.startswith(b"MThd")
    music.main(
        [*options, "--write-only", "--chord", "72", "64", "60", "48", "--temperature", "1.5"]
    )
    assert (tmp_path / "out" / "chorale.mid").read_bytes() != first
    with pytest.raises(SystemExit, match="--chord 99 64 60 48: need"):
        music.main([*options, "--write-only", "--chord", "99", "64", "60", "48"])


def test_a_score_on_the_grid_and_back():
    notes = [
        Note(0, 1, 60),
        Note(1, 1.5, 62),
        Note(1.5, 1.75, 64),
        Note(1.75, 2, 65),
        Note(2.25, 4, 67),
    ]
    rows = music.grid([Part(notes, 4.0)] * 4)
    assert rows[:, 0].tolist() == [60, music.HOLD, 62, 64, music.REST, 67, music.HOLD, music.HOLD]
    assert music.notes(rows)[2] == [
        Note(0, 1, 60),
        Note(1, 1.5, 62),
        Note(1.5, 2, 64),
        Note(2.5, 4, 67),
    ]
    assert music.grid([Part(notes, 4.0)] * 3) is None
    names = music.vocabulary([rows])
    moved = music.transposed([rows, rows[:2]], names)
    assert [len(m) for m in moved].count(8) == 1  # the whole fits in one key alone
    assert [m[0, 0] for m in moved if len(m) == 2] == list(range(60, 67))
    tokens = music.encode(rows, names)
    assert len(tokens) == 4 * 8 + 2
    assert names.decode(tokens)[:8] == ["S60", "A60", "T60", "B60", "S_", "A_", "T_", "B_"]


def test_counts_are_probabilities():
    """Over all that a voice may do at a step they sum to one; counts of a chord know what counts of
    a voice do not."""
    rng = np.random.default_rng(1)
    train = [rng.integers(60, 63, (30, 4)) for _ in range(3)]
    for name in ("each voice's frequencies", "first-order Markov, chord by chord"):
        start = [
            np.array([[a, b, c, d]])
            for a in range(60, 63)
            for b in range(60, 63)
            for c in range(60, 63)
            for d in range(60, 63)
        ]
        total = sum(np.exp(-music.counted(name, train, [one], 3)) for one in start)
        assert np.isclose(total, 1)
    sure = [np.repeat(rng.integers(60, 63, (40, 1)), 4, 1)]
    costs = {name: music.counted(name, sure, sure, 3) for name in music.CONTEXTS}
    assert (
        costs["first-order Markov, chord by chord"]
        < 0.6 * costs["first-order Markov, voice by voice"]
    )


def test_bad_input_is_one_line(corpus, tmp_path, monkeypatch):
    out = ["--out", str(tmp_path / "bad")]
    with pytest.raises(SystemExit, match="No such file"):
        music.main([*TINY, *out, "--corpus", str(tmp_path / "none")])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SystemExit, match=r"0 MusicXML files hold 0 \+ 0 \+ 0 pieces"):
        music.main([*TINY, *out, "--corpus", str(empty)])
    shutil.copy(corpus / "notes.txt", empty / "notes.xml")
    with pytest.raises(SystemExit, match="holds no MusicXML"):
        music.main([*TINY, *out, "--corpus", str(empty)])
    with pytest.raises(SystemExit, match="holds no run"):
        music.main([*TINY, *out, "--corpus", str(corpus), "--write-only"])
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "music21" else object()
    )
    with pytest.raises(SystemExit, match=r"music21 is not installed .*\[music\]"):
        music.main([*TINY, *out])


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_it_learns_what_frequencies_do_not_tell(tmp_path):
    music.main(
        [
            "--seeds",
            "1",
            "--steps",
            "300",
            "--hidden",
            "128",
            "--batch",
            "16",
            "--segment",
            "64",
            "--validate",
            "--out",
            str(tmp_path),
        ]
    )
    record = json.loads((tmp_path / "results.json").read_text())
    references = {row["name"]: row["value"] for row in record["tables"][0]["rows"][1:]}
    assert record["runs"][0]["nats"] < references["first-order Markov, voice by voice"]
