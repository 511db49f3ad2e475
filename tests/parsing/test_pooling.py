"""Pooling before the first Linear equals the authors' pooling after it."""

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool1d, interpolate

from mediakit.parsing.pooling import clap_pooling, per_second, pool_clap, pool_frames


@pytest.mark.parametrize("segments", [10, 7])
def test_clap_map_pooled_first_equals_pooled_after_projection(segments):
    torch.manual_seed(0)
    maps, project = torch.randn(3, 64, 768), torch.nn.Linear(768, 32)
    grid = maps.transpose(1, 2).reshape(3, 768, 2, 32)
    fine = interpolate(grid, size=(2, 1024), mode="bicubic", align_corners=False)
    projected = project(fine.permute(0, 2, 3, 1)).mean(1)  # (B, 1024, 32)
    expected = adaptive_avg_pool1d(projected.transpose(1, 2), segments).transpose(1, 2)
    with torch.inference_mode():
        pool_clap(maps[:1], segments)  # what is kept must serve training, too
    maps.requires_grad_()
    found = project(pool_clap(maps, segments))
    assert (found - expected).abs().max() <= 4e-7
    found.sum().backward()
    assert maps.grad is not None


def test_clap_pooling_is_a_mean_in_time():
    pooling = clap_pooling(10)
    assert pooling.shape == (10, 64)
    torch.testing.assert_close(pooling.sum(1), torch.ones(10))
    torch.testing.assert_close(pooling[:, :32], pooling[:, 32:])  # both bands weigh the same
    torch.testing.assert_close(pooling.flip(0)[:, :32], pooling[:, :32].flip(1))  # no direction of time
    ramp = torch.arange(32.0).repeat(2)[:, None]  # values at 0.5, 1.5, ... of 32; segment k is centred at 3.2 k + 1.6
    torch.testing.assert_close(pool_clap(ramp)[2:8, 0], 3.2 * torch.arange(2.0, 8) + 1.6 - 0.5, atol=0.02, rtol=0)
    with pytest.raises(ValueError, match="64, channels"):
        pool_clap(torch.zeros(63, 768))


def test_frames_are_averaged_by_second():
    frames = torch.randn(2, 80, 5)
    found = pool_frames(frames)
    assert found.shape == (2, 10, 5)
    torch.testing.assert_close(found[1, 3], frames[1, 24:32].mean(0))
    with pytest.raises(ValueError, match="8 a second"):
        pool_frames(torch.zeros(81, 5))


def test_per_second_tells_the_kinds_apart():
    audio, frames, clips = torch.randn(10, 128), torch.randn(10, 768), torch.randn(10, 512)
    for found, given in zip(per_second(audio, frames, clips), (audio, frames, clips), strict=True):
        assert found is given
    clap, resnet = torch.randn(64, 768), torch.randn(80, 2048)
    found = per_second(clap, resnet, clips)
    assert torch.equal(found[0], pool_clap(clap))
    assert torch.equal(found[1], pool_frames(resnet))
    minute = torch.randn(64, 768)  # 64 seconds of vectors, not a map
    assert per_second(minute, torch.randn(64, 8), torch.randn(64, 8))[0] is minute
    with pytest.raises(ValueError, match="9 rows of audio and 10 of frames do not fit 10 of clips"):
        per_second(audio[:9], frames, clips)
