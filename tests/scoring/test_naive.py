import numpy as np
import pytest
import torch

from napo.scoring.batch import Frame, Row
from napo.scoring.naive import naive_title_log_probs, sequences_of
from tests.scoring.toys import (
    END,
    LIST,
    LIST_SAID,
    NEXT,
    NEXT_SAID,
    ROWS,
    TITLES,
    C,
    HashedPolicy,
    ToyPolicy,
    by_hand,
    catalog_tree,
    ids,
    language_policy,
    toy_tree,
)

TOY_FRAME = Frame(ids(END))
ALL_FOUR = [Row(ids(), branches=ids(0, 1, 2, 3), sees=ids(0, 0, 0, 0))]


def test_catalog_log_probs_of_the_toy_tree_by_hand():
    # T2 = a c $: root -0.313262, after a -0.371101, after a c -0.913015
    sums = naive_title_log_probs(ToyPolicy(), ALL_FOUR, toy_tree(), TOY_FRAME, "catalog")
    np.testing.assert_allclose(sums.detach(), [-1.484362, -1.597378, -1.197378, -1.313262], atol=1e-6)
    assert sums.exp().sum().item() == pytest.approx(1.0)


def test_vocabulary_log_probs_of_the_toy_tree_by_hand():
    sums = naive_title_log_probs(ToyPolicy(), ALL_FOUR, toy_tree(), TOY_FRAME, "vocabulary")
    np.testing.assert_allclose(sums.detach(), [-4.467438, -4.391587, -5.216083, -3.739264], atol=1e-6)


def test_a_title_on_the_main_path_follows_what_stands_before_it_alone():
    row = Row(ids(2, 0, 3), scored=ids(0, 2), branches=ids(1), sees=ids(1))
    prompts, items = sequences_of([row], toy_tree(), TOY_FRAME)
    assert [prompt.tolist() for prompt in prompts] == [
        [END],
        [END, 0, C, 3, END, 0, 1, END],
        [END, 0, C, 3, END],
    ]
    assert items.tolist() == [2, 3, 1]


def test_a_prompt_names_its_candidates_after_the_history():
    row = Row(ids(4), branches=ids(2), sees=ids(1), listed=ids(7, 2))
    (prompt,), _ = sequences_of([row], catalog_tree(), LIST)
    assert prompt.tolist() == [0, 20, 8, 1, 23, 24, 12, 3, 1, 6, 7, 1, 25, 26]


def test_what_the_prompt_says_of_items_is_read_and_their_titles_are_scored():
    row = Row(ids(4, 7), scored=ids(1), branches=ids(2), sees=ids(1))
    prompts, items = sequences_of([row], catalog_tree(), NEXT_SAID)
    # 8 $ is title 4, 31 what is said of it, $ the end of that
    assert [prompt.tolist() for prompt in prompts] == [[0, 20, 21, 8, 1, 31, 1]] * 2
    assert items.tolist() == [7, 2]
    row = Row(ids(4), branches=ids(2), sees=ids(1), listed=ids(7, 2))
    (prompt,), _ = sequences_of([row], catalog_tree(), LIST_SAID)
    assert prompt.tolist() == [0, 20, 8, 1, 31, 1, 23, 24, 34, 12, 1, 29, 6, 1, 25, 26]


@pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
def test_each_token_is_predicted_from_all_that_stands_before_it(normalize):
    policy, items = HashedPolicy(30), [0, 5, 4]
    row = Row(ids(*items), branches=ids(*range(9)), sees=ids(*[3] * 9))
    sums = naive_title_log_probs(policy, [row], catalog_tree(), NEXT, normalize)
    prompt = [*NEXT.header, *(token for item in items for token in TITLES[item])]
    np.testing.assert_allclose(sums, by_hand(policy, prompt, TITLES, normalize))


@pytest.mark.parametrize("batch_tokens", [1, 20, 60])
def test_portions_change_nothing(batch_tokens):
    policy, (frame, rows) = language_policy("gpt2"), ROWS["trajectories with branches"]
    with torch.no_grad():
        whole = naive_title_log_probs(policy, rows, catalog_tree(), frame, "catalog")
        portions = naive_title_log_probs(policy, rows, catalog_tree(), frame, "catalog", batch_tokens=batch_tokens)
    torch.testing.assert_close(portions, whole)


def test_no_rows_are_no_titles():
    assert naive_title_log_probs(ToyPolicy(), [], toy_tree(), TOY_FRAME, "catalog").shape == (0,)
