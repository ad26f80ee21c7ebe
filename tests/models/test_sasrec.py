"""SASRec: losses worked by hand, what a state may depend on, and the scorer against plain loops."""

import json
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from napo.errors import UserError
from napo.models.sasrec import SASRec, SASRecSettings, bce_loss, ce_loss, gbce_beta, gbce_loss, pad
from napo.models.sasrec_scorer import SASRecScorer

ITEMS = 12


def f64(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def model_of(**settings: object) -> SASRec:
    """A small model whose weights are large enough that all of them matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SASRec(ITEMS, SASRecSettings(**{"width": 8, "max_length": 6, **settings}))
        for weights in model.parameters():
            torch.nn.init.normal_(weights, std=0.5)
    return model


def ids(*items: int) -> np.ndarray:
    return np.array(items, dtype=np.int64)


def test_bce_by_hand():
    # -(log sigmoid(1.2) + log sigmoid(0.3)) = 0.2632825 + 0.5543552 = 0.8176377 in the paper; as one mean, half of it
    assert bce_loss(f64([1.2]), f64([[-0.3]])).item() == pytest.approx(0.4088188559, abs=1e-10)
    assert 2 * bce_loss(f64([1.2]), f64([[-0.3]])).item() == pytest.approx(0.8176377118, abs=1e-10)


def test_ce_by_hand():
    # log(e^1 + e^2 + e^0.5) - 2 = log(2.71828 + 7.38906 + 1.64872) - 2
    assert ce_loss(f64([[1, 2, 0.5]]), torch.tensor([1])).item() == pytest.approx(0.4643687841, abs=1e-10)


def test_ce_over_two_items_is_bpr():
    # log(1 + e^-1.5)
    assert ce_loss(f64([[1.5, 0]]), torch.tensor([0])).item() == pytest.approx(0.2014132780, abs=1e-10)


@pytest.mark.parametrize(
    ("calibration", "beta", "loss"), [(0.75, 0.265, 0.4561739195), (0.0, 1.0, 0.5206781240), (1.0, 0.02, 0.4346725180)]
)
def test_gbce_by_hand(calibration, beta, loss):
    # 2 negatives among 101 items: alpha = 0.02
    assert gbce_beta(2, 101, calibration) == pytest.approx(beta, abs=1e-12)
    assert gbce_loss(f64([1.2]), f64([[-0.3, 0.1]]), beta=beta).item() == pytest.approx(loss, abs=1e-10)


def test_gbce_beta_of_movielens_1m():
    assert gbce_beta(256, 3416, 0.75) == pytest.approx(0.3062225475, abs=1e-10)


def test_place_losses_agree_with_the_pure_functions_on_the_item_table():
    states, targets, negatives = torch.randn(3, 8), torch.tensor([0, 5, 11]), torch.tensor([[1, 2], [3, 4], [9, 0]])
    logits = states @ model_of().items.weight.T
    positive, negative = logits.gather(1, targets[:, None])[:, 0], logits.gather(1, negatives)
    torch.testing.assert_close(model_of().place_losses(states, targets), ce_loss(logits, targets))
    torch.testing.assert_close(
        model_of(loss="bce").place_losses(states, targets, negatives), bce_loss(positive, negative)
    )
    torch.testing.assert_close(
        model_of(loss="gbce").place_losses(states, targets, negatives),
        gbce_loss(positive, negative, beta=gbce_beta(2, ITEMS, 0.75)),
    )


@pytest.mark.parametrize("norm", ["pre", "original"])
@pytest.mark.parametrize("heads", [1, 2])
def test_states_by_the_formula_written_out_place_by_place(norm, heads):
    model = model_of(norm=norm, heads=heads, blocks=2).eval().double()
    row = ids(3, 7, 7, 0)
    start = torch.zeros(1, 8, dtype=torch.float64)
    x = torch.cat([start, math.sqrt(8) * model.items.weight[row]]) + model.places.weight[:5]
    for block in model.blocks:
        first = block.attention_norm(x)
        others = first if norm == "pre" else x
        query, key, value = block.query(first), block.key(others), block.value(others)
        seen = torch.zeros_like(x)
        for place in range(5):
            for head in torch.arange(8).chunk(heads):
                weights = (key[: place + 1, head] @ query[place, head] / math.sqrt(len(head))).softmax(0)
                seen[place, head] = weights @ value[: place + 1, head]
        x = (x if norm == "pre" else first) + block.out(seen)
        second = block.feed_norm(x)
        inner, outer = block.feed[0], block.feed[3]
        x = (x if norm == "pre" else second) + outer(inner(second).clamp(min=0))
    torch.testing.assert_close(model(pad([row]))[0], model.last_norm(x))


def test_two_histories_of_four_items_have_different_vectors():
    vectors = model_of().sequence_vectors([ids(1, 2, 3, 4), ids(1, 2, 3, 5)])
    assert (vectors[0] - vectors[1]).abs().max() > 0.01


def test_the_order_of_a_history_matters():
    vectors = model_of().sequence_vectors([ids(1, 2, 3), ids(2, 1, 3)])
    assert (vectors[0] - vectors[1]).abs().max() > 0.01


def test_one_history_alone_is_its_row_of_many():
    histories = [ids(1, 2, 3, 4), ids(), ids(5), ids(0, 1, 2, 3, 4, 5, 6, 7, 8), ids(0, 0)]
    model = model_of()
    together = model.sequence_vectors(histories)
    alone = torch.cat([model.sequence_vectors([history]) for history in histories])
    assert together.shape == (5, 8)
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, model.sequence_vectors(histories, batch_size=2))


def test_no_history_at_all_gives_no_vector():
    assert model_of().sequence_vectors([]).shape == (0, 8)
    assert model_of().scores([]).shape == (0, ITEMS)


def test_a_later_item_changes_nothing_before():
    model = model_of().eval()
    one, other = model(torch.tensor([[1, 2, 3, 4], [1, 2, 9, 8]]))
    torch.testing.assert_close(one[:3], other[:3])
    assert (one[3] - other[3]).abs().max() > 0.01


def test_only_the_newest_items_are_read():
    model = model_of(max_length=3)
    torch.testing.assert_close(*model.sequence_vectors([ids(9, 9, 1, 2, 3), ids(1, 2, 3)]))


def test_padding_gives_no_gradient_to_any_item():
    model = model_of()
    states = model(pad([ids(1, 2), ids(3, 4, 5, 6)]))
    states[0, :3].sum().backward()
    touched = model.items.weight.grad.abs().sum(dim=1).nonzero().flatten()
    assert touched.tolist() == [1, 2]


def test_scores_are_products_of_the_two_vectors_without_gradient():
    model = model_of()
    histories = [ids(1, 2), ids(3)]
    scores = model.scores(histories)
    torch.testing.assert_close(scores, model.sequence_vectors(histories) @ model.item_vectors.T)
    assert model.item_vectors.shape == (ITEMS, 8)
    assert not scores.requires_grad
    assert not model.item_vectors.requires_grad


def test_dropout_is_off_while_scoring_and_on_again_afterwards():
    model = model_of(dropout=0.5).train()
    torch.testing.assert_close(model.scores([ids(1, 2)]), model.scores([ids(1, 2)]), rtol=0, atol=0)
    assert model.training
    model.eval().scores([ids(1)])
    assert not model.training


def test_a_saved_model_comes_back_the_same(tmp_path):
    model = model_of(norm="original", loss="gbce", negatives=3)
    model.save(tmp_path / "sasrec")
    back = SASRec.load(tmp_path / "sasrec")
    assert back.settings == model.settings
    assert not back.training
    torch.testing.assert_close(back.scores([ids(1, 2)]), model.scores([ids(1, 2)]), rtol=0, atol=0)
    assert sorted(file.name for file in (tmp_path / "sasrec").iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("harm", ["nothing there", "broken settings", "other width", "cut weights"])
def test_a_folder_that_holds_no_model_is_the_users_mistake(tmp_path, harm):
    folder = tmp_path / "sasrec"
    if harm != "nothing there":
        model_of().save(folder)
        config = json.loads((folder / "config.json").read_text())
        if harm == "broken settings":
            config["settings"]["colour"] = "red"
        elif harm == "other width":
            config["settings"]["width"] = 16
        else:
            weights = (folder / "model.safetensors").read_bytes()
            (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="holds no SASRec"):
        SASRec.load(folder)


def test_heads_must_share_the_width_and_unknown_keys_are_refused():
    with pytest.raises(UserError, match="3 heads"):
        SASRec(ITEMS, SASRecSettings(width=8, heads=3))
    with pytest.raises(ValidationError):
        SASRecSettings(widht=8)


HISTORIES = [ids(1, 2, 3), ids(4), ids(), ids(0, 5, 6, 7)]
EXCLUDED = [ids(1, 2, 3), ids(), ids(8), ids(0, 5, 6, 7, 1, 2, 3, 4, 9)]


def test_candidate_scores_are_the_scores_of_the_candidates():
    model = model_of()
    candidates = np.array([[0, 4], [11, 2], [3, 3], [8, 0]])
    expected = np.take_along_axis(model.scores(HISTORIES).numpy(), candidates, axis=1)
    np.testing.assert_allclose(
        SASRecScorer(model, batch_size=3).candidate_scores(HISTORIES, candidates), expected, 1e-5
    )


def test_top_lists_what_a_plain_sort_would():
    scorer = SASRecScorer(model_of(), batch_size=3)
    for best, history, excluded in zip(scorer.top(HISTORIES, EXCLUDED, 5), HISTORIES, EXCLUDED, strict=True):
        scores = scorer.item_scores(history)
        expected = sorted(set(range(ITEMS)) - set(excluded.tolist()), key=lambda item: -scores[item])[:5]
        assert best.tolist() == expected + [-1] * (5 - len(expected))


def test_top_of_more_than_the_catalog_is_filled_up():
    best = SASRecScorer(model_of()).top([ids(1)], [ids(0)], ITEMS + 2)
    assert best.shape == (1, ITEMS + 2)
    assert best[0, -3:].tolist() == [-1, -1, -1]
    assert -1 not in best[0, :-3]


def test_target_ranks_count_what_a_plain_loop_would():
    scorer = SASRecScorer(model_of(), batch_size=3)
    targets = ids(0, 9, 2, 10)
    expected = []
    for history, excluded, target in zip(HISTORIES, EXCLUDED, targets, strict=True):
        scores = scorer.item_scores(history)
        allowed = set(range(ITEMS)) - set(excluded.tolist())
        expected.append(sum(scores[item] >= scores[target] for item in allowed))
    assert scorer.target_ranks(HISTORIES, EXCLUDED, targets).tolist() == expected
    assert scorer.target_ranks([ids(1)], [ids(5)], ids(5)).tolist() == [0]


def test_ties_count_against_the_target_and_are_listed_by_id():
    model = model_of()
    with torch.no_grad():
        model.items.weight[:] = model.items.weight[0]
    scorer = SASRecScorer(model)
    assert scorer.target_ranks([ids(1)], [ids(1, 2)], ids(5)).tolist() == [ITEMS - 2]
    assert scorer.top([ids(1)], [ids(1, 2)], 3).tolist() == [[0, 3, 4]]
