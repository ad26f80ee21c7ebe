import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from napo.models.language import LanguageModel, create
from napo.models.pretrained import with_lora
from napo.recipe_keys import LoraSection, ModelSection, PromptSection
from napo.scoring.shared_prefix import judging
from napo.scoring.writer import TitleWriter
from tests.recommenders import FILMS

HISTORIES = [np.array([1, 2, 3, 8, 9, 4]), np.array([7]), np.array([], dtype=np.int64), np.array([0, 5])]
CANDIDATES = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]])
SMALL = ModelSection(width=32, layers=1, heads=2, feed_forward=32, vocabulary=300)  # titles of several tokens


def language_of(kind: str = "next", max_history: int = 50, max_tokens: int = 512) -> LanguageModel:
    """Weights that are far from each other, so that it writes more than its last token over and over."""
    prompt = PromptSection(kind=kind, template=kind, max_history=max_history, max_tokens=max_tokens)
    language = create(SMALL, FILMS, prompt, "vocabulary", seed=0)
    draw = torch.Generator().manual_seed(5)
    for weights in language.model.parameters():
        if weights.dim() > 1:
            weights.data.normal_(0, 0.5, generator=draw)
    return language


def by_hand(language: LanguageModel, history, listed=()) -> str:
    """The likeliest token, one after the other, each from a pass over all that stands before it."""
    tree, frame, policy = language.tree, language.frame, language.policy
    titles = [[token for item in part for token in tree.title(item)] for part in (history, listed)]
    ids = [*frame.header, *titles[0], *frame.middle, *titles[1], *frame.tail]
    written: list[int] = []
    with judging(policy):
        for _ in range(int(tree.lengths.max())):
            row = torch.tensor([[*ids, *written]])
            hidden = policy.hidden(row, torch.arange(row.shape[1])[None], None)
            token = int(policy.head(hidden[0, -1:], None).argmax())
            if token == tree.end:
                break
            written.append(token)
    return language.tokenizer.decode(written)


@pytest.mark.parametrize("kind", ["next", "list"])
def test_what_is_written_is_the_likeliest_token_after_the_other(kind):
    language = language_of(kind)
    answers = TitleWriter(language).write(HISTORIES, CANDIDATES)
    listed = CANDIDATES if kind == "list" else [()] * 4
    assert answers == [by_hand(language, history, some) for history, some in zip(HISTORIES, listed, strict=True)]
    assert len(set(answers)) > 1


@pytest.mark.parametrize("batch_tokens", [1, 120])
def test_company_changes_no_answer(batch_tokens):
    language = language_of()
    alone = TitleWriter(language, batch_tokens=batch_tokens).write(HISTORIES, CANDIDATES)
    assert alone == TitleWriter(language).write(HISTORIES, CANDIDATES)


def test_an_answer_is_no_longer_than_the_longest_title_and_its_end():
    language = language_of()
    longest = max(len(language.tokenizer(title, add_special_tokens=False)["input_ids"]) for title in FILMS.titles)
    assert longest > 2
    assert TitleWriter(language).new_tokens == longest + 1


def test_settings_that_a_models_folder_brings_are_not_heeded_and_stay_as_they_were():
    language = language_of()
    plain = TitleWriter(language).write(HISTORIES, CANDIDATES)
    theirs = GenerationConfig(
        do_sample=True, temperature=9.0, repetition_penalty=50.0, max_length=3, forced_eos_token_id=5, num_beams=1
    )
    language.model.generation_config = theirs
    assert TitleWriter(language).write(HISTORIES, CANDIDATES) == plain
    assert language.model.generation_config is theirs


def test_a_history_too_long_loses_its_oldest_as_it_does_in_scoring():
    short = language_of(max_history=2)
    answer = TitleWriter(short).write(HISTORIES[:1], CANDIDATES[:1])
    assert answer == [by_hand(short, HISTORIES[0][-2:])]


def test_an_adapter_writes_too():
    language = language_of()
    adapted = LanguageModel(with_lora(language.model, LoraSection(r=2), 0), language.tokenizer, FILMS, language.usage)
    assert TitleWriter(adapted).write(HISTORIES[:2], CANDIDATES[:2]) == [by_hand(adapted, h) for h in HISTORIES[:2]]
