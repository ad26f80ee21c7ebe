import numpy as np
import pytest
import torch

from napo.scoring.batch import Beginnings, Frame, Row, TokenBatch, batches_by_width, pack, pack_beginnings
from napo.scoring.naive import sequences_of
from napo.scoring.tree import PrefixTree
from tests.scoring.toys import LIST, NEXT, NEXT_WITH_TAIL, ROWS, TITLES, catalog_tree, ids

ALL_ROWS = pytest.mark.parametrize(("frame", "rows"), ROWS.values(), ids=ROWS.keys())


def seen_by(batch: TokenBatch, place: int) -> list[int]:
    """The tokens that the token at a flat place sees, itself the last, in the order of their positions."""
    row, query = divmod(place, batch.input_ids.shape[1])
    keys = torch.nonzero(batch.mask()[row, 0, query]).flatten()
    positions = batch.positions[row, keys]
    assert positions.sort().values.tolist() == list(range(len(keys)))
    assert positions[keys == query].item() == len(keys) - 1
    return batch.input_ids[row, keys[positions.argsort()]].tolist()


@ALL_ROWS
def test_a_scored_token_is_predicted_where_its_prompt_and_the_title_so_far_are_seen_and_nothing_else(frame, rows):
    tree = catalog_tree()
    batch = pack(rows, tree, frame, "vocabulary")
    prompts, items = sequences_of(rows, tree, frame)
    assert batch.titles == len(items)
    for title, (prompt, item) in enumerate(zip(prompts, items, strict=True)):
        of_title = torch.nonzero(batch.title == title).flatten()
        assert batch.target[of_title].tolist() == list(TITLES[item])
        for length, index in enumerate(of_title):
            place = int(batch.places[batch.place[index]])
            assert seen_by(batch, place) == [*prompt, *TITLES[item][:length]]


@ALL_ROWS
def test_under_catalog_exactly_the_forced_tokens_are_not_scored(frame, rows):
    tree = catalog_tree()
    everything, chosen = (pack(rows, tree, frame, normalize) for normalize in ("vocabulary", "catalog"))
    _, items = sequences_of(rows, tree, frame)
    branching = np.concatenate(
        [tree.branching[tree.title_start[item] : tree.title_start[item + 1]] for item in items], axis=0
    )
    assert everything.lengths.tolist() == [len(TITLES[item]) for item in items]
    assert chosen.target.tolist() == everything.target[torch.from_numpy(branching)].tolist()
    assert chosen.lengths.sum() == branching.sum()


@ALL_ROWS
def test_each_place_is_there_once_with_the_node_that_its_tokens_lead_to(frame, rows):
    tree = catalog_tree()
    batch = pack(rows, tree, frame, "catalog")
    assert batch.places.unique().shape == batch.places.shape
    for place, target, title in zip(batch.place, batch.target, batch.title, strict=True):
        node = int(batch.nodes[place])
        assert int(target) in tree.child_token[tree.child_start[node] : tree.child_start[node + 1]]
        item = sequences_of(rows, tree, frame)[1][title]
        assert node in tree.node[tree.title_start[item] : tree.title_start[item + 1]]


def test_the_prompt_is_laid_out_once_and_titles_beside_it():
    # prompt: 3 words, titles of 3 and 2 tokens; beside it titles of 4 and 3 tokens whose end is only predicted
    batch = pack([Row(ids(0, 4), branches=ids(1, 7), sees=ids(2, 2))], catalog_tree(), NEXT, "vocabulary")
    assert batch.input_ids.tolist() == [[0, 20, 21, 3, 4, 1, 8, 1, 3, 4, 5, 12, 3]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 8, 9]]
    assert batch.branch.tolist() == [[0] * 8 + [1, 1, 1, 2, 2]]
    assert batch.tokens == 13


def test_tokens_that_no_scored_token_reads_are_not_laid_out():
    # 12 3 $ is the only title that begins with 12: after that nothing is left to predict
    batch = pack([Row(ids(), branches=ids(7), sees=ids(0))], catalog_tree(), NEXT, "catalog")
    assert batch.input_ids.tolist() == [[0, 20, 21]]
    assert batch.plain


def test_padding_sees_itself_and_nobody_sees_it():
    batch = pack([Row(ids(0, 5), ids(0, 1)), Row(ids(4), ids(0), ids(1), ids(0))], catalog_tree(), NEXT, "vocabulary")
    mask = batch.mask()[1, 0]
    width = batch.input_ids.shape[1]
    padding = torch.arange(width) >= 3 + 2 + 3
    assert torch.equal(mask[padding], torch.eye(width, dtype=torch.bool)[padding])
    assert not mask[~padding][:, padding].any()


def test_rows_without_branches_ask_for_no_mask():
    rows = ROWS["trajectories"][1]
    batch = pack(rows, catalog_tree(), NEXT, "catalog")
    assert batch.plain
    length = batch.input_ids.shape[1]
    real = batch.limit[0] >= 0
    assert torch.equal(batch.mask()[0, 0][real], torch.ones(length, length, dtype=torch.bool).tril()[real])


@pytest.mark.parametrize(
    "row",
    [
        Row(ids(0, 5), scored=ids(0)),
        Row(ids(0, 5), branches=ids(1), sees=ids(1)),
        Row(ids(0, 5), branches=ids(1), sees=ids(2, 2)),
    ],
)
@pytest.mark.parametrize("frame", [LIST, NEXT_WITH_TAIL])
def test_where_words_follow_the_history_only_titles_behind_them_can_be_scored(frame, row):
    with pytest.raises(AssertionError):
        pack([row], catalog_tree(), frame, "catalog")


def test_a_frame_knows_whether_a_history_may_go_on():
    assert NEXT.open
    assert not NEXT_WITH_TAIL.open
    assert not LIST.open
    assert LIST.words == 6
    with pytest.raises(AssertionError):
        Frame(ids())


@pytest.mark.parametrize("frame", [NEXT, NEXT_WITH_TAIL])
def test_at_the_places_of_a_beginning_the_prompt_and_its_first_tokens_are_seen_and_nothing_else(frame):
    tree = catalog_tree()
    begins, lengths = tree.paths
    inner = np.unique(tree.node)
    histories, last = [ids(0, 4), ids(), ids(8), ids(3)], [inner[::-1], inner[:1], inner[3:4], inner[3:]]
    since = [lengths[nodes] for nodes in last[:2]] + [np.zeros_like(nodes) for nodes in last[2:]]
    asked = [Beginnings(*pair) for pair in zip(last, since, strict=True)]
    batch = pack_beginnings(histories, asked, tree, frame)
    assert batch.titles == 0
    expected, nodes = [], []
    for items, one in zip(histories, asked, strict=True):
        prompt = [*frame.header, *(token for item in items for token in TITLES[item]), *frame.tail]
        for node, first in zip(one.last, one.since, strict=True):
            path = tree.token[begins[node] : begins[node] + lengths[node]].tolist()
            expected += [prompt + path[:depth] for depth in range(first, len(path) + 1)]
            nodes += [node_after(tree, path[:depth]) for depth in range(first, len(path) + 1)]
    assert [seen_by(batch, int(place)) for place in batch.places] == expected
    assert batch.nodes.tolist() == nodes


def node_after(tree: PrefixTree, path: list[int]) -> int:
    node = 0
    for token in path:
        edges = slice(tree.child_start[node], tree.child_start[node + 1])
        node = int(tree.child_node[edges][tree.child_token[edges].tolist().index(token)])
    return node


def test_a_single_beginning_in_each_row_asks_for_no_mask():
    tree = catalog_tree()
    asked = [Beginnings(tree.node[[2]], ids(0)), Beginnings(ids(0), ids(0))]
    assert pack_beginnings([ids(0), ids(4)], asked, tree, NEXT).plain


def test_batches_hold_rows_of_like_width_and_no_more_tokens_than_allowed():
    widths = ids(9, 2, 4, 3, 20, 4)
    batches = [batch.tolist() for batch in batches_by_width(widths, 12)]
    assert batches == [[1, 3, 2], [5], [0], [4]]  # 3 x 4; 4 and 9 would be 2 x 9; 20 stands alone
    assert list(batches_by_width(ids(), 12)) == []
