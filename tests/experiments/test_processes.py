import os
import time

import pytest

from napo.errors import UserError
from napo.experiments.processes import side_by_side
from tests.tiny_world import Quiet


def worked(number, progress):
    """At the top of the module: it is called in other processes."""
    step = progress.stage(f"stage {number}")
    progress.say(f"begun {number}")
    step(3, 3, {"loss": float(number)})
    return number, os.getpid()


def failed(number, progress):
    if number == 1:
        raise UserError("no", where="here", remedy="another")
    time.sleep(0.1)


CALLS = [{"number": number} for number in range(3)]


def test_one_job_is_done_in_this_process():
    assert side_by_side(worked, CALLS, 1, Quiet()) == [(number, os.getpid()) for number in range(3)]


@pytest.mark.slow
def test_several_jobs_are_done_in_others_and_tell_their_progress_here():
    quiet = Quiet()
    found = side_by_side(worked, CALLS, 2, quiet)
    assert [number for number, _ in found] == [0, 1, 2]
    assert os.getpid() not in {process for _, process in found}
    assert sorted(quiet.said) == ["begun 0", "begun 1", "begun 2"]
    assert sorted(quiet.steps) == [("stage 0", 3), ("stage 1", 3), ("stage 2", 3)]


@pytest.mark.slow
def test_a_users_mistake_in_another_process_keeps_its_words():
    with pytest.raises(UserError) as raised:
        side_by_side(failed, CALLS, 2, Quiet())
    assert (raised.value.what, raised.value.where, raised.value.remedy) == ("no", "here", "another")
