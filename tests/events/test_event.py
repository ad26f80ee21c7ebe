import pytest

from napo.errors import UserError
from napo.events import Event


def test_events_without_a_key_get_different_ones():
    assert Event("u", "i", "took").key != Event("u", "i", "took").key


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"user": ""}, "user"),
        ({"item": " \t"}, "item"),
        ({"user": "a\0b"}, "user"),
        ({"item": "\ud800"}, "item"),
        ({"user": "x" * 501}, "user"),
        ({"key": "x" * 201}, "key"),
        ({"request": ""}, "request"),
        ({"kind": "bought"}, "kind"),
        ({"time": 1_700_000_000}, "time"),  # seconds
        ({"position": 0}, "position"),
        ({"position": 2**31}, "position"),
        ({"propensity": 0.0}, "propensity"),
        ({"propensity": 1.5}, "propensity"),
        ({"propensity": float("nan")}, "propensity"),
    ],
)
def test_what_can_not_be_kept_is_refused_with_the_field_and_a_remedy(changes, where):
    with pytest.raises(UserError) as caught:
        Event(**{"user": "u", "item": "i", "kind": "took", **changes})
    assert caught.value.where == where
    assert caught.value.remedy
