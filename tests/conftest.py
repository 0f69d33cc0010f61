"""Fixtures that several files share."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Run torch on one thread: what a network gives then does not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch):
    """An empty cache of the test's own."""
    from lib import paths

    monkeypatch.setattr(paths, "CACHE", tmp_path_factory.mktemp("cache"))
    return paths.CACHE
