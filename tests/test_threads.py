"""`mediakit.threads`."""

import pytest
import torch

from mediakit.threads import one_thread


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_thread_and_back(two_threads):
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    assert one_thread()(torch.get_num_threads)() == 1
    assert torch.get_num_threads() == 2


def test_all_is_put_back_after_an_error(two_threads):
    with pytest.raises(RuntimeError, match="inside"), one_thread():
        raise RuntimeError("inside")
    assert torch.get_num_threads() == 2
