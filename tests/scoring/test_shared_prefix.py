import numpy as np
import pytest
import torch

from napo.scoring.batch import Frame, Row, pack
from napo.scoring.naive import naive_title_log_probs
from napo.scoring.shared_prefix import TreeOnDevice, children_logsumexp, judging, title_log_probs
from napo.scoring.tree import PrefixTree
from tests.scoring.toys import (
    END,
    NEXT,
    ROWS,
    TOY_LOGITS,
    A,
    B,
    C,
    D,
    E,
    ToyPolicy,
    catalog_tree,
    gradients,
    ids,
    language_policy,
    toy_tree,
)

SHAPES = pytest.mark.parametrize("shape", ["llama", "qwen2", "gpt2"])
BOTH = pytest.mark.parametrize("normalize", ["catalog", "vocabulary"])
KINDS = pytest.mark.parametrize("kind", ROWS)
TOY_FRAME = Frame(ids(END))


def shared(policy, rows, frame, normalize, tree=None, pad=0):
    tree = tree or catalog_tree()
    return title_log_probs(policy, pack(rows, tree, frame, normalize, pad), TreeOnDevice(tree), normalize)


@SHAPES
@BOTH
@KINDS
def test_shared_prefix_equals_naive_gradients_too(shape, normalize, kind):
    frame, rows = ROWS[kind]
    policy = language_policy(shape)
    ours = shared(policy, rows, frame, normalize)
    naive = naive_title_log_probs(policy, rows, catalog_tree(), frame, normalize)
    torch.testing.assert_close(ours, naive, rtol=1e-7, atol=1e-7)
    assert naive.std() > 0.1  # titles differ, or the comparison says little
    # RMSNorm of Llama and Qwen2 works in float32 whatever the weights are; GPT-2 stays in float64
    close = {"rtol": 1e-8, "atol": 1e-10} if shape == "gpt2" else {"rtol": 1e-5, "atol": 3e-6}
    pairs = list(zip(gradients(policy, ours), gradients(policy, naive), strict=True))
    for one, other in pairs:
        torch.testing.assert_close(one, other, **close)
    assert sum(float(one.abs().sum()) for one, _ in pairs) > 1


@SHAPES
@BOTH
@KINDS
@torch.no_grad()
def test_a_batch_equals_its_rows_one_by_one(shape, normalize, kind):
    frame, rows = ROWS[kind]
    policy = language_policy(shape)
    together = shared(policy, rows, frame, normalize)
    apart = torch.cat([shared(policy, [row], frame, normalize) for row in rows])
    torch.testing.assert_close(together, apart, rtol=1e-7, atol=1e-7)


@SHAPES
@torch.no_grad()
def test_a_title_scores_the_same_alone_and_among_others(shape):
    policy = language_policy(shape)
    items = ids(0, 5)
    among = shared(policy, [Row(items, branches=ids(6, 1, 8), sees=ids(2, 2, 2))], NEXT, "vocabulary")
    alone = shared(policy, [Row(items, branches=ids(1), sees=ids(2))], NEXT, "vocabulary")
    torch.testing.assert_close(among[1:2], alone, rtol=1e-7, atol=1e-7)


@torch.no_grad()
def test_the_padding_token_does_not_matter():
    frame, rows = ROWS["trajectories with branches"]
    policy = language_policy("gpt2")
    one, other = (shared(policy, rows, frame, "catalog", pad=pad) for pad in (0, 17))
    assert torch.equal(one, other)


@BOTH
@torch.no_grad()
def test_equal_titles_score_the_same_and_prefix_titles_do_not(normalize):
    # titles 2 and 3 are equal; 0 ends where 1 goes on, and the end token tells them apart
    scores = shared(
        language_policy("llama"), [Row(ids(4), branches=ids(2, 3, 0, 1), sees=ids(1, 1, 1, 1))], NEXT, normalize
    )
    assert scores[0] == pytest.approx(scores[1].item(), abs=1e-12)
    assert abs(scores[2] - scores[3]) > 0.01


@torch.no_grad()
def test_probabilities_of_all_distinct_titles_sum_to_one_under_catalog_and_to_less_under_vocabulary():
    distinct = ids(0, 1, 2, 4, 5, 6, 7, 8)
    row = Row(ids(0, 5), branches=distinct, sees=np.full(8, 2))
    policy = language_policy("qwen2")
    assert shared(policy, [row], NEXT, "catalog").exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    assert shared(policy, [row], NEXT, "vocabulary").exp().sum() < 0.9


@torch.no_grad()
def test_bfloat16_is_summed_in_float32():
    frame, rows = ROWS["prompts with branches"]
    policy = language_policy("llama").bfloat16()
    assert shared(policy, rows, frame, "catalog").dtype == torch.float32
    assert shared(policy, rows, frame, "vocabulary").dtype == torch.float32


def test_where_every_token_is_forced_the_only_title_is_certain():
    tree = type(catalog_tree()).build([(3, 4, 1)], end=1)
    scores = shared(language_policy("llama"), [Row(ids(0), branches=ids(0), sees=ids(1))], NEXT, "catalog", tree)
    assert scores.tolist() == [0.0]


# The toy tree by hand: logits in tests/scoring/toys.py


def toy(normalize, policy=None, titles=(0, 1, 2, 3), history=()):
    rows = [Row(ids(*history), branches=ids(*titles), sees=np.full(len(titles), len(history)))]
    return shared(policy or ToyPolicy(), rows, TOY_FRAME, normalize, toy_tree())


@pytest.mark.parametrize("history", [(), (2,), (3, 0)])
def test_the_toy_titles_by_hand(history):
    catalog, vocabulary = (toy(normalize, history=history).detach() for normalize in ("catalog", "vocabulary"))
    np.testing.assert_allclose(catalog, [-1.484362, -1.597378, -1.197378, -1.313262], atol=1e-6)
    np.testing.assert_allclose(catalog.exp(), [0.226647, 0.202427, 0.301985, 0.268941], atol=1e-6)
    np.testing.assert_allclose(vocabulary, [-4.467438, -4.391587, -5.216083, -3.739264], atol=1e-6)
    assert catalog.exp().sum().item() == pytest.approx(1.0)
    # the two orders differ: T3 T4 T1 T2, and T4 T2 T1 T3
    assert catalog.argsort(descending=True).tolist() == [2, 3, 0, 1]
    assert vocabulary.argsort(descending=True).tolist() == [3, 1, 0, 2]


def test_the_toy_titles_at_temperature_two_by_hand():
    policy = ToyPolicy()
    policy.logits.data /= 2
    np.testing.assert_allclose(
        toy("catalog", policy).detach().exp(), [0.249801, 0.167758, 0.204900, 0.377541], atol=1e-6
    )


def test_the_gradient_at_the_toy_logits_by_hand():
    # d(-log P)/dz = p - [the right token] among a node's children, and exactly 0 elsewhere
    policy = ToyPolicy()
    (-toy("catalog", policy, titles=(1,))).sum().backward()
    expected = np.zeros((6, 6))
    after = list(TOY_LOGITS)
    expected[after.index(()), [A, E]] = -0.268941, 0.268941
    expected[after.index((A,)), [B, C]] = 0.310026, -0.310026
    expected[after.index((A, C)), [D, END]] = 0.598688, -0.598688
    np.testing.assert_allclose(policy.logits.grad, expected, atol=1e-6)
    assert (policy.logits.grad.numpy()[expected == 0] == 0).all()


def test_the_vocabulary_gradient_at_the_root_by_hand():
    policy = ToyPolicy()
    (-toy("vocabulary", policy, titles=(1,))).sum().backward()
    by_hand = [-0.794990, 0.557275, 0.027745, 0.124345, 0.075419, 0.010207]
    np.testing.assert_allclose(policy.logits.grad[0], by_hand, atol=1e-6)


def test_a_constant_added_to_one_node_changes_nothing_under_catalog():
    policy, shifted = ToyPolicy(), ToyPolicy()
    shifted.logits.data[3] += 7.5
    torch.testing.assert_close(toy("catalog", shifted), toy("catalog", policy))


def test_against_all_other_titles_the_preference_loss_is_the_supervised_one():
    # log(1 + sum over the rivals of exp(c_j - c_i)) = -c_i: for T2 1.597378; its rivals' sum is 3.940061
    scores = toy("catalog").detach()
    rivals = scores[[0, 2, 3]] - scores[1]
    assert rivals.exp().sum().item() == pytest.approx(3.940061, abs=1e-6)
    assert torch.log1p(rivals.exp().sum()).item() == pytest.approx(1.597378, abs=1e-6)


@pytest.mark.parametrize("which", ["first alone", "others alone", "both"])
def test_a_node_with_most_tokens_below_it_is_summed_over_all_with_the_others_masked(which):
    tree = PrefixTree.build([[1, 9], [2, 9], [3, 9], [4, 5, 9], [4, 6, 9], [4, 6, 7, 9]], end=9)
    dense, sparse = TreeOnDevice(tree), TreeOnDevice(tree)
    assert dense.first_bias.tolist() == [0, 0, 0, 0, -torch.inf, -torch.inf, -torch.inf, -torch.inf]
    sparse.first_bias = None
    within = int(tree.node[tree.title_start[3] + 1])
    nodes = {"first alone": [0, 0, 0], "others alone": [within, within], "both": [within, 0, 1, 0, within]}[which]
    given = torch.randn(len(nodes), 8, generator=torch.Generator().manual_seed(0)) * 5
    weights = torch.arange(1.0, len(nodes) + 1)
    sums, slopes = [], []
    for on_device in (dense, sparse):
        logits = given.clone().requires_grad_()
        found = children_logsumexp(logits, torch.tensor(nodes), on_device)
        (found * weights).sum().backward()
        sums.append(found.detach())
        slopes.append(logits.grad)
    torch.testing.assert_close(sums[0], sums[1])
    torch.testing.assert_close(slopes[0], slopes[1])


def test_judging_switches_dropout_and_gradients_off_and_leaves_every_module_as_it_was():
    policy = language_policy("gpt2").train()
    policy.model.transformer.h[0].eval()
    before = [module.training for module in policy.modules()]
    with judging(policy):
        assert not any(module.training for module in policy.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in policy.modules()] == before
    assert torch.is_grad_enabled()
