"""What the tests of real servers share: a run to serve, and the process that servers are forked from."""

import pytest

from tests.recommenders import small_recommender
from tests.serving.http.served import Starter


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run's folder with a small untrained model. Its events go where a test says, never here."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    small_recommender(max_history=20).save(folder / "model")
    return folder


@pytest.fixture(scope="session")
def starter():
    one = Starter()
    yield one
    one.close()
