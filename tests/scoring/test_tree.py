import numpy as np
import pytest

from napo.errors import UserError
from napo.scoring.tree import PrefixTree, slices
from tests.scoring.toys import TITLES, TOY_TITLES, A, C, D, catalog_tree, toy_tree


def children(tree: PrefixTree, path: tuple[int, ...]) -> list[int]:
    """The tokens that may follow a path, found by walking from the root."""
    node = 0
    for token in path:
        edges = slice(tree.child_start[node], tree.child_start[node + 1])
        node = tree.child_node[edges][tree.child_token[edges].tolist().index(token)]
    return tree.child_token[tree.child_start[node] : tree.child_start[node + 1]].tolist()


@pytest.mark.parametrize(
    ("path", "tokens"),
    [((), [0, 4]), ((0,), [1, 2]), ((0, 1), [5]), ((0, 2), [3, 5]), ((0, 2, 3), [5]), ((4,), [5]), ((4, 5), [])],
)
def test_the_children_of_the_toy_tree(path, tokens):
    assert children(toy_tree(), path) == tokens


def test_a_title_comes_back_as_it_went_in():
    tree = catalog_tree()
    assert [tuple(tree.title(item)) for item in range(tree.items)] == list(TITLES)
    assert tree.lengths.tolist() == [len(title) for title in TITLES]
    assert tree.vocabulary.tolist() == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_items_share_a_leaf_exactly_where_their_titles_are_equal():
    leaf = catalog_tree().leaf
    assert leaf[2] == leaf[3]
    assert len(set(leaf.tolist())) == 8


def test_a_place_is_forced_where_a_single_token_may_stand():
    # T1 = a b $: a or e, b or c, then $ alone. T3 = a c d $: a or e, b or c, d or $, then $ alone
    assert toy_tree().branching.tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0]


def test_the_path_to_every_node_is_a_slice_of_the_tokens():
    tree = catalog_tree()
    begins, lengths = tree.paths
    paths = {tuple(tree.token[begins[node] : begins[node] + lengths[node]]) for node in tree.node}
    assert paths == {title[:length] for title in TITLES for length in range(len(title))}
    for item in range(tree.items):
        for place in range(tree.title_start[item], tree.title_start[item + 1]):
            node = tree.node[place]
            path = tree.token[begins[node] : begins[node] + lengths[node]]
            np.testing.assert_array_equal(path, tree.token[tree.title_start[item] : place])


def test_below_a_node_are_the_items_whose_titles_begin_so():
    tree = toy_tree()
    after_a, after_ac = tree.node[1], tree.node[5]
    assert tree.below[[0, after_a, after_ac, tree.leaf[2]]].tolist() == [4, 3, 2, 1]


def test_the_items_of_a_leaf_are_one_slice_in_ascending_order():
    tree = catalog_tree()
    items, starts = tree.by_leaf
    for item, leaf in enumerate(tree.leaf):
        equal = [other for other, title in enumerate(TITLES) if title == TITLES[item]]
        assert items[starts[leaf] : starts[leaf + 1]].tolist() == equal
    assert starts[1] - starts[0] == 0  # none at the root


def test_forced_places_lead_onward_to_a_choice_or_a_leaf():
    tree = toy_tree()
    # after a b only $ may follow; after a c there is a choice; after a c d only $
    after_ab, after_ac, after_acd = (tree.node[place] for place in (2, 5, 9))
    assert tree.onward[after_ab] == tree.leaf[0]
    assert tree.onward[after_ac] == after_ac
    assert tree.onward[after_acd] == tree.leaf[2]
    assert tree.onward[0] == 0
    assert tree.last_place[[after_ab, after_ac, after_acd, 0]].tolist() == [after_ab, after_ac, after_acd, 0]
    lonely = PrefixTree.build([(A, C, D, 5)], end=5)
    assert lonely.onward.tolist() == [lonely.leaf[0]] * lonely.nodes
    assert lonely.last_place.tolist() == [lonely.node[-1]] * lonely.nodes


@pytest.mark.parametrize("title", [(), (5,), (0, 1), (0, 5, 1, 5), (5, 5)])
def test_a_title_that_is_blank_or_has_no_single_end_is_refused(title):
    with pytest.raises(UserError, match="item 1"):
        PrefixTree.build([TOY_TITLES[0], title], end=5)


def test_the_arrays_can_not_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        toy_tree().token[0] = 1


def test_slices_by_hand():
    assert slices(np.array([5, 0, 7]), np.array([2, 3, 0])).tolist() == [5, 6, 0, 1, 2]
    assert slices(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


def test_what_new_titles_may_have_where_they_leave_the_old_ones():
    old = [(2, 3, 1), (2, 3, 1), (2, 4, 1), (5, 1)]
    new = [(2, 9, 1), (5, 6, 1), (5, 6, 7, 1), (7, 1), (7, 8, 1)]
    tree = PrefixTree.build([*old, *new], end=1, trained=4)
    edges = {
        (int(node), int(token)): float(ceiling)
        for node, token, ceiling in zip(
            np.repeat(np.arange(tree.nodes), np.diff(tree.child_start)), tree.child_token, tree.ceiling, strict=True
        )
    }
    after_two, after_five = tree.node[1], tree.node[tree.title_start[3] + 1]
    limited = {edge: np.exp(ceiling) for edge, ceiling in edges.items() if ceiling < np.inf}
    # 7 leads to two new items, beside four; 9 to one, beside three; 6 to two, beside one, and no more than all of it
    assert limited == pytest.approx({(0, 7): 2 / 4, (after_two, 9): 1 / 3, (after_five, 6): 1.0})


def test_nothing_is_limited_in_the_tree_of_training():
    assert np.isinf(catalog_tree().ceiling).all()


def test_what_lies_below_a_node_is_one_slice_of_the_items_in_the_order_of_their_tokens():
    tree = PrefixTree.build([(5, 1), (3, 4, 1), (3, 1), (3, 4, 7, 1), (5, 1)], end=1)
    order, begins = tree.in_order
    assert order.tolist() == [2, 1, 3, 0, 4]  # 3 $, 3 4 $, 3 4 7 $, and twice 5 $
    below = {node: order[begins[node] : begins[node] + tree.below[node]].tolist() for node in range(tree.nodes)}
    assert below[0] == [2, 1, 3, 0, 4]
    after_3, after_3_4 = int(tree.node[tree.title_start[1] + 1]), int(tree.node[tree.title_start[1] + 2])
    assert (below[after_3], below[after_3_4]) == ([2, 1, 3], [1, 3])
    assert [below[leaf] for leaf in tree.leaf.tolist()] == [[0, 4], [1], [2], [3], [0, 4]]
