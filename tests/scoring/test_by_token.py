from contextlib import contextmanager

import numpy as np
import pytest
import torch

from napo.models.policy import LanguagePolicy
from napo.scoring.batch import Frame, Row, pack
from napo.scoring.by_token import ItemsBelow, titles_and_tokens
from napo.scoring.scored import LOWEST, Leads, Tokens
from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
from tests.scoring.toys import END, NEXT, ROWS, TITLES, ToyPolicy, catalog_tree, ids, language_policy, toy_tree

SHAPES = pytest.mark.parametrize("shape", ["llama", "qwen2", "gpt2"])
BOTH = pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
KINDS = pytest.mark.parametrize("kind", ROWS)


def scored(policy, rows, frame, normalize, layers=(1,), chosen=None, tree=None):
    tree = tree or catalog_tree()
    batch = pack(rows, tree, frame, normalize)
    chosen = torch.arange(batch.titles) if chosen is None else chosen
    return titles_and_tokens(policy, batch, TreeOnDevice(tree), ItemsBelow(tree), normalize, chosen, layers)


def chosen_sums(tokens: Tokens, logits: torch.Tensor, examples: int) -> torch.Tensor:
    """Each example's log-prob, out of its tokens."""
    by_token = logits.log_softmax(dim=1).gather(1, tokens.right[:, None])[:, 0]
    return by_token.new_zeros(examples).index_add(0, tokens.example, by_token)


@SHAPES
@BOTH
@KINDS
@torch.no_grad()
def test_titles_are_the_sums_of_their_tokens_and_the_last_layer_by_the_lens_is_the_policy(shape, normalize, kind):
    frame, rows = ROWS[kind]
    policy, tree = language_policy(shape), catalog_tree()
    by_title, tokens = scored(policy, rows, frame, normalize, layers=(1, 2))
    plain = title_log_probs(policy, pack(rows, tree, frame, normalize), TreeOnDevice(tree), normalize)
    assert torch.equal(by_title, plain)
    torch.testing.assert_close(chosen_sums(tokens, tokens.logits, len(plain)), plain)
    torch.testing.assert_close(tokens.layers[1], tokens.logits, rtol=1e-6, atol=1e-6)
    assert (chosen_sums(tokens, tokens.layers[0], len(plain)) - plain).abs().max() > 0.1


@BOTH
@torch.no_grad()
def test_an_intermediate_layer_is_what_its_own_states_say(normalize):
    frame, rows = ROWS["trajectories with branches"]
    policy, tree = language_policy("llama"), catalog_tree()
    batch = pack(rows, tree, frame, normalize)
    _, tokens = scored(policy, rows, frame, normalize)
    body = policy.model.model
    states = body(
        input_ids=batch.input_ids, attention_mask=batch.mask(), position_ids=batch.positions, output_hidden_states=True
    ).hidden_states[1]
    logits = policy.model.lm_head(body.norm(states)).flatten(0, 1)[batch.places]  # (P, V)
    by_token = logits[batch.place]  # (M, V): here each title is an example of its own
    if normalize == "vocabulary":
        torch.testing.assert_close(tokens.layers[0], by_token)
        assert torch.equal(tokens.right, batch.target)
        return
    for row, (node, target) in enumerate(zip(batch.nodes[batch.place].tolist(), batch.target.tolist(), strict=True)):
        children = tree.child_token[tree.child_start[node] : tree.child_start[node + 1]].tolist()
        torch.testing.assert_close(tokens.layers[0, row, : len(children)], by_token[row, children])
        assert tokens.allowed[row].sum() == len(children)
        assert children[int(tokens.right[row])] == target


class ToyLens:
    """Of a policy of one layer."""

    @contextmanager
    def caught(self, layers, places):
        yield []


class Toy(ToyPolicy):
    lens = ToyLens()


@torch.no_grad()
def test_the_competing_tokens_of_the_toy_tree_by_hand():
    # T3 = a c d $: at the root a or e, after a b or c, after a c d or $; $ after d is forced, and left out
    _, tokens = scored(
        Toy(), [Row(ids(), branches=ids(2, 3), sees=ids(0, 0))], Frame(ids(END)), "catalog", (), tree=toy_tree()
    )
    assert tokens.logits.tolist() == [[1, 0], [0.5, 1.3], [0.6, 0.2], [1, 0]]
    assert tokens.right.tolist() == [0, 1, 0, 1]
    assert tokens.example.tolist() == [0, 0, 0, 1]
    assert tokens.allowed.all()


@torch.no_grad()
def test_behind_a_places_last_token_there_is_nothing():
    # at the root of TITLES five tokens begin a title: 3, 6, 8, 9, 12; behind 3 4 only 5 and the end go on
    _, tokens = scored(language_policy("llama"), [Row(ids(), branches=ids(1), sees=ids(0))], NEXT, "catalog")
    assert tokens.allowed.sum(dim=1).tolist() == [5, 2, 2]
    assert (tokens.logits[~tokens.allowed] == LOWEST).all()
    assert (tokens.layers[0][~tokens.allowed] == LOWEST).all()
    assert tokens.logits.softmax(dim=1)[~tokens.allowed].sum() == 0


@BOTH
@torch.no_grad()
def test_only_the_chosen_titles_tokens_are_looked_at(normalize):
    frame, rows = ROWS["trajectories with branches"]
    policy = language_policy("llama")
    _, whole = scored(policy, rows, frame, normalize)
    _, some = scored(policy, rows, frame, normalize, chosen=torch.tensor([1, 4]))
    assert some.example.unique().tolist() == [0, 1]
    kept = torch.isin(whole.example, torch.tensor([1, 4]))
    width = some.logits.shape[1]
    torch.testing.assert_close(some.logits, whole.logits[kept][:, :width])
    torch.testing.assert_close(some.right, whole.right[kept])


class Counted:
    """How often a policy's model is run, how often its head, and over how many places."""

    def __init__(self, policy: LanguagePolicy) -> None:
        self.passes, self.places = 0, []
        causal = policy.causal
        causal.base_model.register_forward_hook(self._pass)
        head = policy.head
        policy.head = lambda hidden, *given, **how: (self.places.append(len(hidden)), head(hidden, *given, **how))[1]

    def _pass(self, *given) -> None:
        self.passes += 1


@BOTH
@pytest.mark.parametrize("layers", [(), (1,), (1, 2)])
def test_one_pass_serves_all_layers_and_the_head_runs_only_for_layers_that_are_asked(normalize, layers):
    frame, rows = ROWS["trajectories with branches"]
    policy = language_policy("llama")
    assert policy.lens.depth == 2  # found beforehand, once a model
    counted = Counted(policy)
    _, tokens = scored(policy, rows, frame, normalize, layers, chosen=torch.tensor([0, 1]))
    places = len(pack(rows, catalog_tree(), frame, normalize).places)
    assert counted.passes == 1
    assert counted.places == [places, *([len(layers) * len(tokens.right)] if layers else [])]
    assert tokens.layers.shape == (len(layers), *tokens.logits.shape)


@BOTH
@torch.no_grad()
def test_a_batch_of_a_rank_without_examples_has_no_tokens(normalize):
    frame, rows = ROWS["trajectories"]
    none = torch.zeros(0, dtype=torch.int64)
    _, tokens = scored(language_policy("llama"), rows, frame, normalize, chosen=none)
    assert len(tokens.right) == len(tokens.example) == 0
    assert tokens.layers.shape == (1, *tokens.logits.shape)


# Which items a token leads to


@BOTH
@torch.no_grad()
def test_tokens_lead_to_the_items_whose_titles_go_on_with_them(normalize):
    # before each place of titles 3 4 5 $ and 3 9 10 4 $; under `catalog` those where nothing else could follow are out
    begun = {
        "catalog": [[], [3], [3, 4], [], [3], [3, 9, 10]],
        "vocabulary": [[], [3], [3, 4], [3, 4, 5], [], [3], [3, 9], [3, 9, 10], [3, 9, 10, 4]],
    }[normalize]
    _, tokens = scored(language_policy("llama"), [Row(ids(), branches=ids(1, 6), sees=ids(0, 0))], NEXT, normalize)
    for item, title in enumerate(TITLES):
        weights = torch.eye(len(TITLES))[[item, item]]  # all on this item
        mass = tokens.leads.mass(weights, tokens.example, tokens.logits)
        for place, before in enumerate(begun):
            follow = sorted({other[len(before)] for other in TITLES if list(other[: len(before)]) == before})
            found = mass[place, follow] if normalize == "vocabulary" else mass[place, : len(follow)]
            onward = title[len(before)] if list(title[: len(before)]) == before else None
            assert found.tolist() == [float(token == onward) for token in follow]
            assert mass[place].sum() == found.sum()


def test_the_products_of_shares_along_a_title_are_its_probability():
    # CF scores (1, .5, 2, 0) of T1 ab$, T2 ac$, T3 acd$, T4 e$
    likely = torch.tensor([[1, 0.5, 2, 0]], dtype=torch.float64).softmax(dim=1)
    np.testing.assert_allclose(likely[0], [0.213097, 0.129250, 0.579259, 0.078394], atol=1e-6)
    rows = [Row(ids(), branches=ids(0, 2), sees=ids(0, 0))]
    _, tokens = scored(Toy(), rows, Frame(ids(END)), "catalog", (), tree=toy_tree())
    mass = tokens.leads.mass(likely.expand(2, -1), tokens.example, tokens.logits)
    shares = mass / mass.sum(dim=1, keepdim=True)
    # root; after a (T1); root; after a; after ac
    by_hand = [
        [0.921606, 0.078394],
        [0.231224, 0.768776],
        [0.921606, 0.078394],
        [0.231224, 0.768776],
        [0.817574, 0.182426],
    ]
    np.testing.assert_allclose(shares.detach(), by_hand, atol=1e-6)
    right = shares.gather(1, tokens.right[:, None])[:, 0].log()
    along = right.new_zeros(2).index_add(0, tokens.example, right).exp()
    np.testing.assert_allclose(along.detach(), likely[0, [0, 2]], atol=1e-12)


def test_a_small_weight_behind_large_ones_is_not_lost():
    zero = torch.zeros(1, dtype=torch.int64)
    leads = Leads(zero, zero, torch.tensor([2]), torch.tensor([3]), torch.arange(3))
    weights = torch.tensor([[0.5, 0.5, 1e-12]])
    mass = leads.mass(weights, zero, torch.zeros(1, 1))
    assert mass.item() == pytest.approx(1e-12, rel=1e-3)
