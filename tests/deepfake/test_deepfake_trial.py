"""The trial's numbers against NumPy and by hand; `tests/test_demo.py` runs the trial itself."""

from pathlib import Path

import numpy as np
import torch
from toy_detector import Prejudice

from mediakit.deepfake.predict import detect_tracks
from mediakit.deepfake.reasons import measures
from mediakit.deepfake.scoreboard import Scored
from mediakit.deepfake.signals import EXPRESSION, HEAD, Signals
from mediakit.deepfake.trial import BASELINE, Trial, statistics
from mediakit.deepfake.trial_page import area, trial_section
from mediakit.trials import MODEL


def scored(name: str, label: int, score: float, method: str = "", verdict: str = "undetermined") -> Scored:
    return Scored(f"{name}/{label}", label, score, verdict, method, group=name)


ROWS = [
    scored("ann", 0, 0.1, verdict="real"),
    scored("ann", 1, 0.3, "jitter"),
    scored("bob", 0, 0.4),
    scored("bob", 1, 0.9, "face_blend", verdict="fake"),
]


def test_statistics_are_those_of_numpy():
    draw = torch.Generator().manual_seed(0)
    head, face = (torch.randn(2, 96, channels, generator=draw).cumsum(1) for channels in (HEAD, EXPRESSION))
    valid = torch.ones(2, 96, dtype=torch.bool)
    valid[0, 30:40] = valid[1, 90:] = False
    signals = Signals(*(torch.where(valid[..., None], x, 0.0) for x in (head, face)), valid)
    found = statistics(signals)
    assert found.shape == (2, 2 * (HEAD + EXPRESSION) + 7)
    for row, seen, *parts in zip(found, valid.numpy(), head.numpy(), face.numpy(), strict=True):
        expected = []
        for x in parts:
            steps = np.diff(x, axis=0)[seen[1:] & seen[:-1]]
            expected += [np.log(x[seen].std(0)), np.log(np.sqrt((steps**2).mean(0)))]
        assert np.allclose(row[:-7].numpy(), np.concatenate(expected), atol=1e-4)
    numbers = torch.stack([*measures(signals).values()], 1).float()
    assert torch.equal(found[:, -7:].nan_to_num(), numbers.nan_to_num())


def test_area_is_over_people():
    # Drawn anew, the people are one of them twice (area 1) or both (3/4).
    assert area(ROWS) == (0.75, 0.75, 1.0)


def test_what_the_page_says_of_a_trial():
    unseen = detect_tracks(Prejudice(), None)
    trial = Trial(Path("x", "deepfake.ckpt"), {"train": 3, "val": 1, "test": 2}, 4, {MODEL: ROWS, BASELINE: ROWS[::-1]})
    section = trial_section(unseen, unseen, trial)
    assert section["columns"] == [("all kinds", 2), ("motion manipulated", 1), ("picture manipulated", 1)]
    assert section["genuine"] == 2
    for _, _, areas in section["rows"]:
        assert [a[0] for a in areas] == [0.75, 0.5, 1.0]  # all pairs; 0.3 against 0.1 and 0.4; 0.9 against them
    assert section["said"] == [
        ("genuine", {"real": 1, "undetermined": 1}),
        ("manipulated", {"fake": 1, "undetermined": 1}),
    ]
    assert [(what, found["verdict"]) for what, found in section["pair"]] == [
        ("genuine", "undetermined"),
        ("manipulated", "undetermined"),
    ]
    assert section["checkpoint"] == "deepfake.ckpt"
