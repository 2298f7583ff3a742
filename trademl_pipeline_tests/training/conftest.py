import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    # networks of a test's size only wait for a second thread, and for long where other work wants the cores
    # too; modules that do without torch are not made to load it
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
