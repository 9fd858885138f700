"""The benchmark: every library computes what the reference does, a wrong one gets no time, and the
tables say what was measured."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from benchmarks import learning, report, turns, worker
from benchmarks.__main__ import main
from benchmarks.cases import CASES, OVER, WORK, Case
from benchmarks.peers import GPU_ONLY, PEERS, STRATEGIES
from helpers.tables import first

ROOT = Path(__file__).parents[2]
POPULATIONS = [
    *(Case("gru", 3, 5, 2, 4, work="population", members=2, over=over) for over in OVER),
    Case("lstm", 3, 5, 2, 4, work="population", over="rows"),
]
TINY = [
    Case("lstm", 3, 5, 2, 4),
    Case("gru", 3, 5, 2, 4),
    Case("elman", 3, 5, 2, 4),
    Case("lstm", 3, 5, 2, 4, layers=2),
    Case("gru", 3, 5, 2, 4, layers=2, both=True),
    Case("lstm", 3, 5, 2, 4, both=True, ragged=True),
    Case("lstm", 1, 9, 2, 4, work="sampling"),
    Case("gru", 8, 9, 8, 16, work="training"),
    Case("lstm", 3, 5, 2, 4, work="ensemble"),
    Case("linear", 1, 9, 0, 4, work="recurrence"),
    *POPULATIONS,
]


def held(peer, case, tmp_path):
    worker.refer(case, tmp_path)
    return worker.build(peer, case, tmp_path)


@pytest.mark.parametrize("case", first(6, TINY[:3] + TINY[6:]), ids=lambda case: case.name)
def test_ours_computes_what_the_reference_does(case, tmp_path):
    program, facts = held("jaxrnn", case, tmp_path)
    assert facts["error"] < 1e-5
    name = WORK[case.work][-1]
    assert facts[f"{name} temporaries"] > 0
    assert len(worker.run(program, name, 3)["seconds"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "peer"),
    [(case, p) for case in TINY for p in turns.beside(case, tuple(PEERS)) if p not in GPU_ONLY],
    ids=lambda a: getattr(a, "name", a),
)
def test_every_library_computes_what_the_reference_does(peer, case, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    if peer in ("haiku", "equinox", "keras"):
        pytest.importorskip(peer)
    program, facts = held(peer, case, tmp_path)
    if program is None:
        assert peer in ("haiku", "equinox", "torch"), facts
        assert facts == {"refused": f"it has no such {case.work}"}
    else:
        assert facts["error"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_computes_what_the_reference_does(name, tmp_path):
    assert turns.beside(TINY[5], (f"jaxrnn {name}",))
    assert held(f"jaxrnn {name}", TINY[5], tmp_path)[1]["error"] < 1e-5


@pytest.mark.parametrize(
    "case",
    [Case("lstm", 3, 5, 2, 4, layers=2), Case("lstm", 3, 5, 2, 4, both=True)],
    ids=lambda case: case.name,
)
def test_weights_as_cudnn_wants_them(case, monkeypatch, tmp_path):
    """Through the reference that JAX keeps beside cuDNN's LSTM, which runs on a GPU alone."""
    from benchmarks.peers import cudnn

    def reference(xs, h, c, weights, lengths, features, hidden, layers, dropout, both):
        unpacked = cudnn.rnn.unpack_lstm_weights(weights, features, hidden, layers, both)
        return cudnn.rnn.lstm_ref(
            xs, h, c, *unpacked, lengths, features, hidden, layers, dropout, both
        )

    monkeypatch.setattr(cudnn.rnn, "lstm", reference)
    monkeypatch.setattr(cudnn, "build", cudnn.program)
    assert held("cudnn", case, tmp_path)[1]["error"] < 1e-5


def test_every_process_is_ended(monkeypatch):
    """The textbook is the reference and a peer, in one process."""
    began, ended = [], []

    class Quiet:
        def __init__(self, peer, folder, environment):
            began.append(peer)
            self.peer = peer

        def end(self):
            ended.append(self.peer)

    monkeypatch.setattr(turns, "Worker", Quiet)
    with turns.workers(("jaxrnn", "plain", "torch"), {}):
        pass
    assert sorted(began) == sorted(ended) == ["jaxrnn", "plain", "torch"]


def test_a_tpu_is_one_process_at_a_time(monkeypatch):
    """The reference is computed on the CPU beside it."""
    alive, most = [], []

    class Quiet:
        def __init__(self, peer, folder, environment):
            self.platform = environment["JAX_PLATFORMS"]
            alive.append(self)
            most.append(sum(one.platform == "tpu" for one in alive))

        def ask(self, told):
            assert self.platform == "cpu" if "refer" in told else self.platform == "tpu"
            return {"seconds": [0.1], "cpu": 0, "faults": 0, "flops": 1.0}

        def end(self):
            alive.remove(self)

    monkeypatch.setattr(turns, "Worker", Quiet)
    with tqdm(disable=True) as bar:
        cases = [TINY[0], TINY[9]]
        records = list(turns.measure(cases, ("jaxrnn", "plain", "nnx"), turns.TPU, 1, bar))
    assert [(r["peer"], r["name"]) for r in records] == [
        *(("jaxrnn", case.name) for case in cases),
        *(("plain", case.name) for case in cases),
        ("nnx", TINY[0].name),
    ]
    assert max(most) == 1
    assert not alive


@pytest.mark.parametrize(
    ("found", "options", "message"),
    [
        (
            ("", "no CUDA"),
            ["--device", "gpu"],
            "got --device gpu, but JAX finds none here (no CUDA). Install JAX for it",
        ),
        (
            ("", "no TPU"),
            ["--device", "tpu"],
            "got --device tpu, but JAX finds none here (no TPU). Install JAX for it, say jax[tpu]",
        ),
        (("cpu", "cpu"), ["--tf32"], "got --tf32 on a CPU"),
        (("tpu", "TPU v5 lite"), ["--tf32"], "got --tf32 on a TPU"),
        (
            ("gpu", "H100"),
            ["--devices", "2"],
            "got --devices 2 on a GPU; only a CPU is made into several. Give --device cpu.",
        ),
    ],
)
def test_what_a_device_cannot_do_is_refused(found, options, message, monkeypatch, capsys):
    monkeypatch.setattr(turns, "found", lambda environment: found)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options, "--list"])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err


def test_a_wrong_result_gets_no_time(tmp_path, monkeypatch):
    case = TINY[2]
    worker.refer(case, tmp_path)
    right = importlib.import_module("benchmarks.peers.jaxrnn").build
    results = right(case).results()
    for name in results:
        for factor in (1.01, np.nan):
            wrong = results | {name: results[name] * np.float32(factor)}
            monkeypatch.setattr(type(right(case)), "results", lambda self, wrong=wrong: wrong)
            program, facts = worker.build("jaxrnn", case, tmp_path)
            assert program is None
            assert "off the reference" in facts["refused"]


@pytest.mark.slow
@pytest.mark.parametrize("case", [TINY[0], POPULATIONS[0]], ids=lambda case: case.name)
def test_libraries_by_turns(case, tmp_path):
    with tqdm(disable=True) as bar:
        records = list(turns.measure([case], ("jaxrnn", "torch"), {}, 0.1, bar))
    assert [record["peer"] for record in records] == ["jaxrnn", "torch"]
    for record in records:
        assert "refused" not in record, record
        assert record["matmul"] > 0
        for name in WORK[case.work]:
            assert 0 < record[name]["least"] <= record[name]["median"] <= record[name]["most"]
    json.dumps(records)
    tables = report.page(turns.machine(), records)
    assert tables.count(f"| {case.name} |") >= 3, "a row for each pass, and one of temporaries"
    report.draw(tmp_path / "picture.png", records)
    assert (tmp_path / "picture.png").stat().st_size < 200_000


def test_tables_say_what_was_measured():
    def record(name, peer, forward, gradient):
        times = {"forward": {"median": forward}, "gradient": {"median": gradient}}
        return {"name": name, "peer": peer, "flops": 6e6, "matmul": 1e9, "peak": 4e6} | times

    records = [
        record("a", "jaxrnn", 0.01, 0.02),
        record("a", "torch", 0.02, 0.01),
        record("b", "jaxrnn", 0.01, 0.01),
        record("b", "torch", 0.02, 0.04),
    ]
    records.append({"name": "b", "peer": "haiku", "refused": "it has no such layer"})
    assert (
        report.milliseconds({"median": 0.01, "least": 0.009, "most": 0.02}) == "10.00 (9.00-20.00)"
    )
    gradient = report.table(records, "gradient").splitlines()
    assert gradient[2] == "| a | 20.00 | 30% | 0.50 | - |"
    assert gradient[-1] == "| geometric mean | | | **1.41** | - |"
    assert report.table(records, "forward").splitlines()[2] == "| a | 10.00 | 20% | 2.00 | - |"
    assert "haiku: it has no such layer" in report.refusals(records)
    other = [
        {
            "case": case._asdict(),
            "name": case.name,
            "peer": p,
            "forward": {"median": t},
            "forward temporaries": 1e6 * t,
        }
        for p, t in (("jaxrnn", 1), ("torch", 3))
        for case in TINY[6:7]
    ]
    assert (
        report.works(records + other).splitlines()[-1]
        == "| lstm 1,9,2,4 sampling | forward | 1000.00 | 3.00 |"
    )
    assert report.table(records + other, "gradient").splitlines() == gradient, (
        "other work stands apart"
    )
    assert (
        report.costs(records + other, "temporaries").splitlines()[2]
        == "| lstm 1,9,2,4 sampling | 1.0 | 3.00 |"
    )
    faster = [
        one | {"gradient": {"median": one["gradient"]["median"] / 2}} if "gradient" in one else one
        for one in records
    ]
    assert report.compared(records, faster).splitlines()[2] == "| a | 1.00 | 0.50 |"


def test_members_of_a_population_differ_in_what_they_are_mapped_over():
    shapes = {case.over: (len(case.weights()), case.inputs().shape) for case in POPULATIONS[:5]}
    assert shapes == {
        "params": (2, (5, 3, 2)),
        "xs": (1, (2, 5, 3, 2)),
        "both": (2, (2, 5, 3, 2)),
        "rows": (1, (3, 5, 2)),
        "batch": (1, (5, 3, 2)),
    }
    rows, batch = (case.inputs() for case in POPULATIONS[3:5])
    assert np.array_equal(rows.swapaxes(0, 1), batch), "the same data either way"


def test_every_case_has_a_name_of_its_own():
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(np.diff(case.lengths()).max() <= 0 for case in CASES if case.ragged)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in learning.CHECKS if name.startswith("adding")])
def test_every_family_learns_to_add_what_was_marked(name, monkeypatch):
    """The command's own check over shorter sequences;
    `benchmarks/results/learning.json` has T=600."""
    (task, settings, loss, _, trivial), net, lr = learning.CHECKS[name]
    short = task, settings | {"length": 20}, loss, trivial / 5, trivial
    monkeypatch.setitem(learning.CHECKS, name, (short, net, 3 * lr))
    found = learning.learn(name, 800, 0)
    assert found["reached"], found
    assert found["loss"] < trivial / 5


def test_the_page_shows_the_records():
    page = (ROOT / "benchmarks/README.md").read_text()
    assert "![their time over ours](results/cpu.png)" in page
    for name in ("cpu", "cpu-heap", "cpu-split"):
        records = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["records"]
        tables = [
            report.table(records, "gradient"),
            report.table(records, "forward"),
            report.works(records),
        ]
        tables += [report.costs(records, what) for what in report.COSTS]
        assert all(table in page for table in (tables if name == "cpu" else tables[:1])), name
    for name, found in json.loads((ROOT / "benchmarks/results/learning.json").read_text()).items():
        assert (
            f"| {name} | {found['params']:,} | {found['steps']:,} | {found['loss']:.2e} |" in page
        )


def test_the_record_of_what_was_learnt_is_of_every_check():
    record = json.loads((ROOT / "benchmarks/results/learning.json").read_text())
    assert set(record) == set(learning.CHECKS)
    for name, found in record.items():
        assert found["reached"], name
        assert found["net"] == repr(learning.CHECKS[name][1])
