import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    # networks of a test's size only wait for a second thread, and for long where other work wants the cores
    # too
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
