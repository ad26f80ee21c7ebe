"""What some tests want that pip does not bring: Chromium, a PostgreSQL server, a disk of their own."""

import os
from typing import NoReturn

import pytest

REQUIRED = "NAPO_REQUIRE"  # .ci/run sets it


def missing(why: str) -> NoReturn:
    """Skip the test, with the reason; in CI it fails, so that nothing which CI has to check is left out unseen."""
    if os.environ.get(REQUIRED):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
