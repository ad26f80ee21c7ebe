from dataclasses import replace

import numpy as np

from napo.data.catalog import Catalog
from napo.evaluation.leaks import PromptText
from napo.evaluation.leaks.titles import _lists_with_substrings, _shared_words, folded, title, titles_in_prompt


def retitled(world, titles, with_split, **changes):
    catalog = Catalog(world.split.catalog.keys, tuple(titles))
    return with_split(replace(world.split, catalog=catalog, **changes))


def test_titles_are_compared_without_case_and_kinds_of_blanks():
    assert folded("  The\u00a0MATRIX ") == folded("the  matrix")


def test_a_length_that_betrays_targets_warns(world, with_split):
    # the oftener an item is a target, the longer its title; no two are of one length
    times = np.bincount(world.test_cases.target, minlength=160)
    longer = np.argsort(np.argsort(times, kind="stable"))
    check = title(retitled(world, ["x" * (1 + int(length)) for length in longer], with_split))
    assert check.verdict == "WARN"
    assert check.value == check.reference["longest"] > 0.15 > 3 * check.reference["shortest"]
    assert "the longest title is a rule" in check.note


def test_titles_of_one_length_are_no_rule(world):
    check = title(world)
    assert check.reference["shortest"] == check.reference["longest"] == 0.0  # ties are no hits
    assert check.verdict == "ok"


def test_words_shared_with_the_history_by_hand():
    titles = [folded(one) for one in ("Star Trek: Generations", "Star Wars", "Heat", "Star Trek IV")]
    shared = _shared_words(titles, [np.array([0, 2]), np.array([], dtype=int)], np.array([[1, 3], [1, 3]]))
    assert shared.tolist() == [[1, 2], [0, 0]]


def test_a_target_that_is_always_last_warns(world):
    items = world.test_lists.items.copy()
    rows = np.arange(len(items))
    items[rows, world.test_lists.slot], items[:, -1] = items[:, -1], world.test_cases.target
    check = title(replace(world, test_lists=replace(world.test_lists, items=items, slot=np.full(len(items), 19))))
    assert (check.value, check.reference["last"], check.verdict) == (1.0, 1.0, "WARN")
    assert "`last`" in check.note


def test_a_prompt_that_names_the_target_fails(world, with_split):
    # every item of the test has a twin of the same title at the beginning of its user's sequence
    titles = [f"Film {i:03}" for i in range(160)]
    sequences = [sequence.copy() for sequence in world.split.sequences]
    twins = {}
    for sequence in sequences:
        first, target = int(sequence[0]), int(sequence[-1])
        if first not in twins.values() and first not in twins and target not in twins and target not in twins.values():
            twins[target] = first
            titles[first] = titles[target]
    planted = retitled(world, titles, with_split)
    check = title(planted)
    assert check.reference["in_prompt"] > 0.1 > check.reference["others_in_prompt"]
    assert check.verdict == "FAIL"
    assert "names the target" in check.note
    # a prompt that does not show the oldest items does not show the twins
    assert title(replace(planted, prompt=PromptText((), max_history=5))).reference["in_prompt"] < 0.05


def test_words_of_the_template_count_whole_and_without_case():
    titles = [folded(one) for one in ("Alien", "Aliens", "Heat")]
    prompt = PromptText(("If someone liked ALIENS, then",))
    found = titles_in_prompt(titles, [np.array([2])], prompt, np.array([[0, 1, 2]]))
    assert found.tolist() == [[False, True, True]]  # Heat by the history


def test_lists_with_a_title_inside_another_are_counted():
    titles = [folded(one) for one in ("Alien", "Aliens", "Heat", "Crash")]
    assert _lists_with_substrings(titles, np.array([[0, 1], [0, 2], [2, 3], [1, 0]])) == 0.5
