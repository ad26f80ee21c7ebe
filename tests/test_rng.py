import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napo.rng import rng_for, seed_for
from tests.processes import printed

keys = st.lists(st.integers(-(2**40), 2**40) | st.text(alphabet="abc/ ", max_size=6), min_size=1, max_size=4)


def test_equal_keys_draw_the_same_however_much_was_drawn_before():
    expected = rng_for(3, "negatives", 1, 7).random(4)
    rng_for(0, "other").random(1000)
    np.testing.assert_array_equal(rng_for(3, "negatives", 1, 7).random(4), expected)


@given(first=keys, second=keys)
def test_different_keys_have_different_seeds(first, second):
    same = [str(part) for part in first] == [str(part) for part in second]
    assert (seed_for(*first) == seed_for(*second)) == same


def test_parts_of_a_key_do_not_run_together():
    assert seed_for("ab", "c") != seed_for("a", "bc")
    assert seed_for(1, 12) != seed_for(11, 2)


@given(key=keys)
def test_a_seed_fits_a_signed_64_bit_integer(key):
    assert 0 <= seed_for(*key) < 2**63  # what torch.manual_seed takes


def test_a_seed_is_the_same_in_every_process():
    code = "from napo.rng import seed_for; print(seed_for(0, 'negatives', 2))"
    # Python salts hash() by this variable
    assert {printed(code, PYTHONHASHSEED=salt) for salt in ("1", "2")} == {str(seed_for(0, "negatives", 2))}
