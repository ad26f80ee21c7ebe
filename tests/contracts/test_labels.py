"""What training may rely on, of every module in napo/labels, found by folder."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from napo import plugins
from napo.labels._protocol import Proposals
from napo.negatives._protocol import Example
from napo.settings import Strict
from tests.contracts.test_samplers import CONTEXT, ITEMS

NAMES = plugins.names("labels")


def labeller_of(name):
    module = plugins.load("labels", name)
    return module.Labeller(CONTEXT, module.Settings())


@pytest.mark.parametrize("name", NAMES)
def test_a_module_says_where_it_stands_and_has_settings_and_labeller(name):
    module = plugins.load("labels", name)
    assert all(f"\n{word} " in module.__doc__ for word in ("Path", "Takes", "Gives"))
    assert issubclass(module.Settings, Strict)
    assert isinstance(module.Labeller.needs_auxiliary, bool)
    with pytest.raises(ValidationError):
        module.Settings(no_such_key=1)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 3),
    rows=st.lists(
        st.tuples(st.integers(0, ITEMS - 1), st.lists(st.integers(0, ITEMS - 1), max_size=6, unique=True)),
        min_size=1,
        max_size=5,
    ),
)
def test_what_trains_has_a_chosen_item_and_as_many_others_out_of_those_at_hand(name, count, rows):
    labeller = labeller_of(name)
    width = labeller.proposals(count)
    items = np.full((len(rows), width), -1)
    for row, (_, proposed) in zip(items, rows, strict=True):
        row[: len(proposed)] = proposed[:width]
    examples = [Example(user, np.array([0, 1]), logged) for user, (logged, _) in enumerate(rows)]
    labelled = labeller.label(Proposals(examples, items), count)
    assert labelled.chosen.shape == labelled.trains.shape == (len(rows),)
    assert labelled.rejected.shape == (len(rows), count)
    for chosen, rejected, proposed, example in zip(
        labelled.chosen[labelled.trains],
        labelled.rejected[labelled.trains],
        items[labelled.trains],
        np.array(examples, dtype=object)[labelled.trains],
        strict=True,
    ):
        at_hand = {example.chosen, *proposed.tolist()} - {-1}
        assert {int(chosen), *rejected.tolist()} <= at_hand
        assert len({int(chosen), *rejected.tolist()}) == 1 + count
