"""The metric as an object: across batches, processes and devices it gives what the functions give over all videos."""

from datetime import timedelta

import pytest
import torch
from test_metrics import draw
from torch.distributed import destroy_process_group, init_process_group
from torch.multiprocessing import spawn

from mediakit.parsing.metrics import AVVPScore, avvp_scores, class_scores, video_scores


def assert_same(metric, matrices):
    """Whether a metric holds exactly what the functions give over all videos at once."""
    by_class, expected = metric.per_class(), class_scores(*matrices)
    rows = sorted(metric.per_video().tolist())
    assert metric.compute() == avvp_scores(*matrices)
    assert rows == sorted(video_scores(*matrices).tolist())
    assert torch.equal(by_class.predicted, expected.predicted)
    assert torch.equal(by_class.true, expected.true)
    torch.testing.assert_close(by_class.f, expected.f, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_batches_give_what_all_videos_give(size):
    matrices = draw(50, 10, 5, 0.2, 0)
    metric = AVVPScore(5)
    for batch in zip(*(x.split(size) for x in matrices), strict=True):
        assert metric(*batch) == avvp_scores(*batch)  # a call scores the batch alone, and adds it
    assert_same(metric, matrices)
    metric.update(*matrices)
    assert len(metric.per_video()) == 100
    metric.reset()
    assert len(metric.per_video()) == 0
    assert metric.per_class().true.sum() == 0
    metric.update(*matrices)
    assert_same(metric, matrices)


def test_batches_may_differ_in_length():
    short, long = draw(8, 6, 5, 0.3, 0), draw(8, 10, 5, 0.3, 1)
    metric = AVVPScore(5)
    for batch in (short, long):
        metric.update(*batch)
    padded = [torch.nn.functional.pad(x, (0, 0, 0, 4)) for x in short]
    assert_same(metric, [torch.cat(pair) for pair in zip(padded, long, strict=True)])


def test_casting_the_module_around_it_rounds_no_score():
    matrices = draw(30, 10, 5, 0.2, 0)
    module = torch.nn.ModuleDict({"score": AVVPScore(5)})
    module["score"].update(*matrices)
    module.to(torch.bfloat16)
    assert_same(module["score"], matrices)


def test_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="for 4 classes, got 5"):
        AVVPScore(4).update(*draw(2, 3, 5, 0.5, 0))


SHARES = [(31, 9), (40, 0), (0, 40), (20, 20)]


def score_share(_, rank, folder):
    """One of two processes: scores its share of the videos, in batches."""
    init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=120))
    try:
        matrices = draw(40, 10, 5, 0.2, 0)
        for shares in SHARES:
            metric = AVVPScore(5)
            mine = [x.split(shares)[rank] for x in matrices]
            for batch in zip(*(x.split(8) for x in mine), strict=True):
                if len(batch[0]):
                    metric.update(*batch)
            assert_same(metric, matrices)
            assert sum(map(len, metric.videos)) == shares[rank]  # its own videos again, ready for more
    finally:
        destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")  # a process without videos has no `update`
def test_two_processes_give_what_one_gives(tmp_path):
    other = spawn(score_share, (1, str(tmp_path)), nprocs=1, join=False)
    score_share(None, 0, str(tmp_path))
    while not other.join():  # raises what the other process raised
        pass
    assert [process.exitcode for process in other.processes] == [0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same():
    matrices = draw(40, 10, 5, 0.2, 0)
    metric = AVVPScore(5).to("cuda")
    metric.update(*(x.cuda() for x in matrices))
    assert metric.counts.is_cuda
    assert_same(metric, matrices)
