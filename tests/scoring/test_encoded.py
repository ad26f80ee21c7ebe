from dataclasses import replace

import numpy as np
import pytest
import torch

from napo.models.policy import LanguagePolicy
from napo.scoring.continuations import TitleModel
from napo.scoring.search import all_log_probs, exact_ranks, exact_top
from napo.scoring.self_check import keeps_histories
from tests.scoring.test_self_check import TREE, mistral
from tests.scoring.toys import NEXT, NEXT_WITH_TAIL, catalog_tree, ids, language_policy

HISTORIES, NONE = [ids(0, 5, 4), ids(), ids(8), ids(5, 6, 5, 6, 1)], [ids()] * 4


class Counting(LanguagePolicy):
    """Counts the tokens that it runs, padding included."""

    tokens = 0

    def hidden(self, input_ids, *rest):
        self.tokens += input_ids.numel()
        return super().hidden(input_ids, *rest)

    def keep(self, input_ids):
        self.tokens += input_ids.numel()
        return super().keep(input_ids)

    def hidden_behind(self, kept, rows, input_ids, *rest):
        self.tokens += input_ids.numel()
        return super().hidden_behind(kept, rows, input_ids, *rest)


@pytest.mark.parametrize(
    ("shape", "frame", "normalize", "batch_tokens"),
    [
        ("llama", NEXT, "catalog", 1000),
        ("llama", NEXT, "vocabulary", 40),
        ("llama", NEXT_WITH_TAIL, "vocabulary", 1),
        ("qwen2", NEXT, "vocabulary", 1000),
        ("gpt2", NEXT, "vocabulary", 1000),
    ],
)
@torch.no_grad()
def test_histories_that_are_kept_give_what_histories_run_again_give(shape, frame, normalize, batch_tokens):
    again = TitleModel(language_policy(shape), catalog_tree(), frame, normalize, batch_tokens)
    kept = replace(again, keeps=True)
    for width in (1, 64):
        tops = [exact_top(model, HISTORIES, [ids(2), *NONE[1:]], 6, width=width) for model in (again, kept)]
        assert tops[0][0].tolist() == tops[1][0].tolist()
        np.testing.assert_allclose(tops[0][1], tops[1][1], atol=1e-6)
    targets = ids(1, 5, 8, 0)
    assert exact_ranks(kept, HISTORIES, NONE, targets).tolist() == exact_ranks(again, HISTORIES, NONE, targets).tolist()


@torch.no_grad()
def test_each_history_is_run_once_however_many_rounds_there_are():
    policy = Counting(language_policy("llama").model)
    model = TitleModel(policy, catalog_tree(), NEXT, "vocabulary", keeps=True)
    long = [np.resize(ids(5, 6), 20)]  # 3 words and 20 titles of 6 and 5 tokens
    exact_top(model, long, [ids()], 9)
    assert 113 <= policy.tokens < 2 * 113
    policy.tokens = 0
    exact_top(replace(model, keeps=False), long, [ids()], 9)
    assert policy.tokens > 2 * 113


@pytest.mark.parametrize("shape", ["llama", "qwen2", "gpt2"])
def test_common_shapes_keep_histories(shape):
    assert keeps_histories(language_policy(shape), catalog_tree(), NEXT, 64)


def test_a_window_holds_behind_a_kept_history_too():
    policy = LanguagePolicy(mistral(window=24))
    assert keeps_histories(policy, TREE, NEXT, 64)


def test_a_policy_that_looks_at_its_history_wrongly_is_found_out():
    class Shifted(LanguagePolicy):
        def hidden_behind(self, kept, rows, input_ids, positions, mask):
            return super().hidden_behind(kept, rows, input_ids, positions + 1, mask)

    class Unable(LanguagePolicy):
        def keep(self, input_ids):
            raise NotImplementedError

    for kind in (Shifted, Unable):
        assert not keeps_histories(kind(language_policy("llama").model), catalog_tree(), NEXT, 64)


def test_no_kept_histories_give_no_rows():
    model = TitleModel(language_policy("llama"), catalog_tree(), NEXT, "catalog", keeps=True)
    assert exact_top(model, [], [], 3)[0].shape == (0, 3)
    assert all_log_probs(model, []).shape == (0, 9)
