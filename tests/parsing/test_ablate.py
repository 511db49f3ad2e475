"""Ablations: tiny runs end to end, statistics against SciPy, error ladders worked by hand."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from mediakit.cli import main
from mediakit.errors import MediakitError
from mediakit.jobs import JobError
from mediakit.parsing.ablation import ablate
from mediakit.parsing.ablation.ablate import ROWS, SIZES, TUNED, WITHOUT, Size, ablate_parsing
from mediakit.parsing.ablation.run import Run, train_run
from mediakit.parsing.ablation.table import mean_interval, summarise
from mediakit.parsing.error_ladder import error_ladder, error_predictions, error_shares
from mediakit.parsing.metrics import PROTOCOLS, SCORES, avvp_scores, oracle_ladder
from mediakit.parsing.module import ParsingModule
from mediakit.text_tables import as_markdown, as_text

NETWORK = {"hidden": 16, "heads": 2, "layers": 1}
DATA = {"train": 24, "val": 8, "test": 10, "audio_dim": 32, "frame_dim": 32, "clip_dim": 32, "batch_size": 12}
TINY = Size(mmcse=NETWORK, han={"hidden": 16}, data=DATA, epochs=1, rates=(1e-3, 1e-2), schedule="constant")
PAIR = ("HAN", "MM-CSE")


def in_process(function, items, workers=1):
    """What `run_jobs` does, without processes."""
    for item in items:
        try:
            yield item, function(item)
        except MediakitError as error:
            yield item, JobError(str(error))


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(ablate, "run_jobs", in_process)


def video(*rows: str) -> torch.Tensor:
    """A class a row, a second a column, as (1, T, K)."""
    return torch.tensor([[int(c) for c in row] for row in rows]).T[None]


# Class 0 is heard for two seconds, class 1 is heard and seen, class 2 is not there.
HEARD, SEEN = video("1100", "1111", "0000"), video("0000", "0110", "0000")
# Class 0 is found at the right time, but also seen; class 1 is missed; class 2 is made up.
PRED_HEARD, PRED_SEEN = video("1100", "0000", "1111"), video("1000", "0000", "0000")


def test_error_predictions_by_hand():
    rows = error_predictions(PRED_HEARD, PRED_SEEN, HEARD, SEEN)
    wanted = {
        "as predicted": (PRED_HEARD, PRED_SEEN),
        "predicted classes everywhere": (video("1111", "0000", "1111"), video("1111", "0000", "1111")),
        "predicted modalities everywhere": (video("1111", "0000", "1111"), video("1111", "0000", "0000")),
        "wrong classes left out": (video("1100", "0000", "0000"), video("1000", "0000", "0000")),
        "wrong modalities left out": (video("1100", "0000", "0000"), video("0000", "0000", "0000")),
        "classes mended": (video("1100", "1111", "0000"), video("1000", "0110", "0000")),
        "classes and modalities mended": (video("1100", "1111", "0000"), video("0000", "0110", "0000")),
    }
    assert list(rows) == list(wanted)
    for name, pair in wanted.items():
        for found, want in zip(rows[name], pair, strict=True):
            torch.testing.assert_close(found.long(), want, msg=name)


def test_error_shares_by_hand():
    shares = error_shares(error_ladder(PRED_HEARD, PRED_SEEN, HEARD, SEEN))
    # As predicted: sound (1 + 0 + 0) / 3, picture (0 + 0) / 2, both at once (0 + 0) / 2, as class 0 is found there.
    # Mended classes: sound 1, picture (0 + 1) / 2, both at once (0 + 1) / 2. Mended modalities: all right.
    assert shares == pytest.approx({"class": 200 / 3 - 100 / 9, "modality": 100 / 3, "boundary": 0.0})


def test_a_wrong_second_is_a_boundary():
    late = video("0110", "1111", "0000")
    shares = error_shares(error_ladder(late, SEEN, HEARD, SEEN))
    assert shares == pytest.approx({"class": 0.0, "modality": 0.0, "boundary": 100 - 100 * (0.75 + 1 + 1) / 3})


def test_error_ladder_agrees_with_the_oracles():
    draw = torch.Generator().manual_seed(0)
    true = [torch.rand(50, 10, 6, generator=draw) < 0.1 for _ in range(2)]
    pred = [torch.rand(50, 10, 6, generator=draw) < 0.1 for _ in range(2)]
    perfect, oracles = error_ladder(*true, *true), oracle_ladder(*true)
    assert perfect["predicted classes everywhere"] == oracles["weak labels everywhere"]
    assert perfect["predicted modalities everywhere"] == oracles["modality labels everywhere"]
    ladder = error_ladder(*pred, *true)
    assert ladder["as predicted"] == avvp_scores(*pred, *true)
    for score in SCORES:
        assert sum(error_shares(ladder, score).values()) + ladder["as predicted"][score] == pytest.approx(100)


def test_intervals_are_those_of_scipy():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(60, 2, 5), rng.normal(58, 2, 5)
    found = mean_interval(list(ours), 0.9)
    low, high = stats.ttest_1samp(ours, 0).confidence_interval(0.9)
    assert (found.mean - found.half, found.mean + found.half, found.values) == pytest.approx((low, high, 5))
    runs = {
        row: {seed: result(value) for seed, value in enumerate(values)}
        for row, values in (("MM-CSE", theirs), ("HAN", ours))
    }
    paired = summarise(runs, "han")["HAN"]["difference"]["segment_type"]
    low, high = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (paired.mean - paired.half, paired.mean + paired.half) == pytest.approx((low, high))
    assert str(mean_interval([41.26])) == "41.3"
    assert str(mean_interval([1.0, 2.0])) == "1.5 ± 6.4"  # 12.706 * 0.7071 / 1.4142


def result(value: float) -> dict:
    """What a run gives, with one number in it that matters."""
    scores = dict.fromkeys(SCORES, value)
    errors = error_ladder(PRED_HEARD, PRED_SEEN, HEARD, SEEN)
    costs = {"parameters": 1, "seconds": 1.0, "cpu_seconds": 1.0, "best_epoch": 1}
    return {"test": dict.fromkeys(PROTOCOLS, scores), "errors": errors, **costs}


def test_differences_are_of_the_same_seeds():
    runs = {"MM-CSE": {0: result(50.0), 1: result(60.0)}, "HAN": {1: result(57.0), 2: result(80.0)}}
    found = summarise(runs, "mmcse")
    assert found["HAN"]["difference"]["event_av"] == (-3.0, None, 1)
    assert found["HAN"]["scores"]["event_av"].mean == pytest.approx(68.5)


def test_rows_are_what_they_are_called():
    batch = torch.randn(2, 5, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    dims = {"audio_dim": 8, "frames_dim": 8, "clips_dim": 8}
    sizes = {"MM-CSE": 0, "without CAFD": -1, "without background fusion": -1, "without SECM": -1, "without LGSF": -1}
    full = None
    for row in ROWS[2:]:
        module = ParsingModule(**NETWORK | dims | (TUNED | WITHOUT)[row])
        output, count = module(*batch), sum(p.numel() for p in module.parameters())
        full = full or count
        assert (count < full) == (sizes.get(row, 0) < 0 or row == "without FGSE"), row
        assert (output.decoupled is None) == (row == "without CAFD")
        assert (output.cooccurrence is None) == (row in ("without SECM", "without FGSE"))
        off = {name.partition("_")[0] for name, weight in module.loss_weights.items() if weight == 0}
        assert off == ({row.removeprefix("without ").replace("-", "").split()[0].rstrip("s")} if off else set())
    assert SIZES["paper"].epochs == 60
    assert SIZES["small"].data["train"] <= 2000


def test_a_run_depends_on_its_seed_alone():
    run = Run("MM-CSE", 3, {**NETWORK, "lr": 1e-3, "schedule": "constant"}, DATA, 2)
    torch.manual_seed(99)
    first, second = train_run(run), train_run(run)
    for found in (first, second):
        assert found.pop("seconds") > 0
        assert found.pop("cpu_seconds") > 0
    assert first == second
    assert len(first["val"]) == 2
    assert first["best_epoch"] == 1 + int(np.argmax(first["val"]))
    assert list(first["test"]) == list(PROTOCOLS)
    assert first["test"]["mmcse"] == pytest.approx(first["errors"]["as predicted"])
    assert first["videos"] == DATA["test"]


def test_the_table(tmp_path, here):
    text = ablate_parsing(tmp_path / "a", TINY, seeds=2, rows=PAIR)
    assert (tmp_path / "a" / "table.txt").read_text() == text
    assert "10 test videos" in text
    assert "pseudo-labels of the test videos" in text
    assert text.count("(taken)") == 2
    found = json.loads((tmp_path / "a" / "results.json").read_text())
    assert set(found["rows"]) == set(PAIR)
    files = {path.name: json.loads(path.read_text()) for path in (tmp_path / "a" / "runs").glob("*.json")}
    assert len(files) == 6  # two rates of two rows, and the better ones on a second seed
    for row in PAIR:
        trials = found["tuning"][row]
        assert trials["trials"][trials["chosen"]] == max(trials["trials"].values())
        own = [f for f in files.values() if f["row"] == row and f["model"]["lr"] == float(trials["chosen"])]
        assert sorted(f["seed"] for f in own) == [0, 1]
        values = [f["test"]["mmcse"]["event_type"] for f in own]
        assert found["rows"][row]["scores"]["event_type"][0] == pytest.approx(np.mean(values))
        for name in PROTOCOLS:
            values = [f["test"][name]["segment_type"] for f in own]
            assert found["rows"][row]["protocols"][name][0] == pytest.approx(np.mean(values))
    assert "| HAN |" in (tmp_path / "a" / "table.md").read_text()


def test_more_rows_and_seeds_add_to_what_is_there(tmp_path, here):
    ablate_parsing(tmp_path, TINY, seeds=1, rows=["MM-CSE"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    damaged = sorted(before)[0]
    damaged.write_text('{"val"')  # as a full disk leaves it
    (tmp_path / "runs" / ".0123456789abcdef.json").write_text("")  # as a kill does
    text = ablate_parsing(tmp_path, TINY, seeds=2, rows=["MM-CSE", "without FGSE"])
    assert "without FGSE" in text
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert {path for path in before if after[path] == before[path]} == {*before} - {damaged}
    assert len(after) == 5
    assert ablate_parsing(tmp_path, TINY, seeds=2, rows=["MM-CSE", "without FGSE"]) == text


@pytest.mark.slow  # two processes import everything
def test_a_killed_table_goes_on(tmp_path, here):
    # With worker processes, as the command has them.
    code = (
        "from test_ablate import *\n"
        "if __name__ == '__main__':\n"
        f"    ablate_parsing({str(tmp_path / 'a')!r}, TINY, seeds=3, rows=PAIR, workers=1)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    child = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": paths})
    try:
        limit = time.monotonic() + 120
        while not (done := list((tmp_path / "a" / "runs").glob("[!.]*.json"))):
            assert child.poll() is None, "it ended before it was killed"
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (tmp_path / "a" / "table.txt").exists()
    times = {path: path.stat().st_mtime_ns for path in done}
    ablate_parsing(tmp_path / "a", TINY, seeds=3, rows=PAIR)
    assert {path: path.stat().st_mtime_ns for path in done} == times
    names = {path.name for path in (tmp_path / "a" / "runs").iterdir()}
    assert len(names) == 8
    assert all(name.endswith(".json") and name[0] != "." for name in names)


def test_every_row_can_be_tuned(tmp_path, here):
    rows = ["MM-CSE", "without FGSE"]
    plain = ablate_parsing(tmp_path, TINY, seeds=1, rows=rows)
    tuned = ablate_parsing(tmp_path, TINY, seeds=1, rows=rows, tune_all=True)
    assert (plain.count("(taken)"), tuned.count("(taken)")) == (1, 2)
    assert len(list((tmp_path / "runs").glob("without-fgse-*.json"))) == 2


def test_other_settings_in_the_same_folder(tmp_path, here):
    ablate_parsing(tmp_path, TINY, seeds=1, rows=["HAN"])
    other = Size(**{**vars(TINY), "epochs": 2})
    with pytest.raises(MediakitError, match="epochs 1, but 2 is asked for"):
        ablate_parsing(tmp_path, other, seeds=1, rows=["HAN"])


def test_a_trial_that_diverges_is_lost(tmp_path, here):
    wild = Size(**{**vars(TINY), "rates": (1e30, 1e-3)})
    text = ablate_parsing(tmp_path, wild, seeds=1, rows=["HAN"])
    (line,) = [line for line in text.splitlines() if "(taken)" in line]
    assert line.split()[1] == "-"


def test_failed_runs_are_named(tmp_path, monkeypatch):
    def broken(function, items, workers=1):
        for item in items:
            yield item, JobError("its process died of SIGKILL", "crash")

    monkeypatch.setattr(ablate, "run_jobs", broken)
    with pytest.raises(MediakitError, match=r"2 runs failed.*HAN, seed 0: its process died of SIGKILL"):
        ablate_parsing(tmp_path, TINY, seeds=1, rows=["HAN"])
    assert not (tmp_path / "table.txt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "huge"}, "no size 'huge'"),
        ({"rows": ["HAM"]}, "no variant 'HAM'"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"features": "f"}, "features need labels and pseudo_labels"),
        ({"pseudo_labels": "p"}, "go with features"),
        ({"labels": "nowhere"}, "nowhere"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(MediakitError, match=message):
        ablate_parsing(tmp_path, **options)
    assert not (tmp_path / "runs").exists()


def test_the_command(tmp_path, here, monkeypatch, capsys):
    monkeypatch.setitem(SIZES, "small", TINY)
    monkeypatch.chdir(tmp_path)
    assert main(["ablate", "parsing", "--seeds", "1", "--rows", "HAN + pseudo-labels", "--out", "o"]) == 0
    printed = capsys.readouterr()
    assert "HAN + pseudo-labels" in printed.out
    assert "tuning 2/2" in printed.err
    assert main(["ablate", "parsing", "--rows", "HAM", "--out", "o"]) == 2


def test_tables_line_up():
    lines = [("a", ["1.0", "22.00"]), ("longer", ["3", "4"])]
    text = as_text("t", ["x", "y"], lines)
    assert text.splitlines() == ["t         x      y", "a       1.0  22.00", "longer    3      4"]
    assert as_markdown("t", ["x"], [("a", ["1"])]) == "**t**\n\n|  | x |\n| --- | ---: |\n| a | 1 |"
