"""The tables of detection: what stands in which cell, what is refused, what is said in words."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mediakit.deepfake import metrics
from mediakit.deepfake.scoreboard import Scored, against_reals, comparison_table, score_table, summary


def rows(shift=1.0, seed=0, videos=24):
    draw = torch.Generator().manual_seed(seed)
    made = []
    for compression in ("crf 5", "crf 23"):
        for video in range(videos):
            for method in ("", "jitter", "region_lag"):
                score = (0.35 + 0.3 * shift * bool(method) + 0.2 * torch.randn((), generator=draw)).clamp(0, 1).item()
                verdict = "fake" if score > 0.6 else "real" if score < 0.4 else "undetermined"
                made.append(
                    Scored(f"v{video}", int(bool(method)), score, verdict, method, compression, f"p{video % 8}")
                )
    return made


def cells(text, first):
    """Cells of the lines that begin with a name, one list for each table."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [line[1:] for line in lines if line[0] == first]


def test_parts_are_what_they_say():
    made = rows()
    text = score_table(made, "Drawn", samples=50)
    assert "Drawn: 48 real and 96 fake videos of 8 groups." in text
    ranking, chances, verdicts = cells(text, "method jitter")
    part = [row for row in made if row.method == "jitter" or not row.label]
    p, y = torch.tensor([row.score for row in part]), torch.tensor([row.label for row in part])
    assert ranking[:2] == ["48", "48"]
    assert ranking[2].startswith(f"{metrics.auc(p, y):.3f} [")
    assert ranking[3] == f"{100 * metrics.equal_error_rate(p, y):.1f} %"
    assert ranking[5].endswith("*")  # 48 reals are too few for 1 % ...
    assert not ranking[6].endswith("*")  # ... but not for 5 %
    assert cells(text, "compression crf 5")[0][:2] == ["24", "48"]
    # In the order of their numbers, not of their letters.
    assert text.index("compression crf 5") < text.index("compression crf 23")
    decided = [row for row in part if row.verdict != "undetermined"]
    wrong = sum((row.verdict == "fake") != row.label for row in decided)
    assert chances[2:4] == [f"{100 * len(decided) / 96:.1f} %", f"{100 * wrong / len(decided):.1f} %"]
    assert sum(map(int, verdicts)) == 96
    assert int(verdicts[0]) == sum(row.verdict == "fake" for row in part if row.label)


def test_one_method_and_compression_need_one_line():
    text = score_table(
        [row for row in rows() if row.compression == "crf 5" and row.method != "jitter"], "Few", samples=5
    )
    assert "method" not in text.replace("A method's", "")
    assert len(cells(text, "all")) == 3


def test_one_class_is_said_in_words():
    fakes = [row for row in rows() if row.label]
    text = score_table(fakes, "Fakes", "track", samples=5)
    assert "There are only fakes" in text
    assert "0 real and 96 fake tracks" in text
    assert cells(text, "all")[0][2:] == ["-"] * 5
    partly = [row for row in rows() if row.label == 0 or row.compression == "crf 5"]
    assert "one class only" in score_table(partly, "Partly", samples=5)


def test_summary_of_undetermined_alone():
    scores = summary([replace(row, verdict="undetermined", unknown=0.5) for row in rows()])
    assert scores["coverage"] == 0
    assert scores["risk"] != scores["risk"]
    assert scores["unknown"] == 0.5
    assert scores["auc"] == summary(rows())["auc"]


def test_more_faces_stand_apart():
    made = [replace(row, n_tracks=1 + (number % 4 == 0)) for number, row in enumerate(rows())]
    text = score_table(made, "Faces", samples=5)
    assert sum(map(int, cells(text, "one face")[0][:2])) == 108
    assert sum(map(int, cells(text, "several faces or none")[0][:2])) == 36


def test_comparison_is_paired_and_by_compression():
    full, weak = rows(), rows(0.3, seed=1)
    text = comparison_table({"full": full, "weak": weak[::-1], "same": full}, samples=200)
    assert [cell.startswith("+0.000 [0.000, 0.000]") for (*_, cell) in cells(text, "same")] == [True]
    (cell,) = cells(text, "weak")
    gap = summary(weak)["auc"] - summary(full)["auc"]
    assert cell[-1].startswith(f"{gap:+.3f} [")
    assert float(cell[-1].rstrip("]").split(", ")[1]) < 0
    assert float(cell[0]) == pytest.approx(
        summary([row for row in weak if row.compression == "crf 5"])["auc"], abs=1e-3
    )


def test_what_would_mislead_is_refused():
    made = rows()
    with pytest.raises(ValueError, match=r"1 rows occur more than once, the first is v0 / jitter / crf 5"):
        score_table([*made, made[1]], "Twice")
    with pytest.raises(ValueError, match="same rows only: a, b"):
        comparison_table({"a": made, "b": made[1:]})
    with pytest.raises(ValueError, match="verdict of v0 is 'maybe'"):
        replace(made[0], verdict="maybe")
    with pytest.raises(ValueError, match="unit 'clip'"):
        score_table(made, "Clips", "clip")
    with pytest.raises(ValueError, match="metric 'f1'"):
        comparison_table({"a": made}, metric="f1")
    # Two ways of manipulation with one file name are two videos.
    assert len(against_reals(made, "jitter", "region_lag")) == len(made)


def test_page(capsys):
    page = Path(__file__).parents[2] / "docs" / "api" / "deepfake-metrics.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    exec(compile(block, page.name, "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"  # (.*)", block)
