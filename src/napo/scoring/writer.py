"""A language model that writes: what it says freely where a title is asked for.

Path    histories, candidates -> [scoring.writer] -> evaluation.generated
Takes   a loaded LanguageModel; histories of item ids, oldest first; the candidates, where the prompt names them
Gives   texts up to the end token: one a case, greedy; or several, drawn
Oracle  tests/scoring/test_writer.py: token by token with the policy's own head
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import GenerationConfig

from napo.arrays import IntArray
from napo.rng import seed_for
from napo.scoring.batch import NONE, Row, batches_by_width, main_path
from napo.scoring.generate import Key, Sampling
from napo.scoring.logits_processor import no_other_settings
from napo.scoring.shared_prefix import device_of, judging

if TYPE_CHECKING:
    from napo.models.language import LanguageModel


class TitleWriter:
    """Writes a title behind the same prompt that titles are scored behind, without a tree that holds it to titles.

    A token is the likeliest of the whole vocabulary, also where the model was trained with `normalize: catalog`, under
    which tokens that continue no title were never in the race. batch_tokens: of one batch, padding and answer included.
    """

    def __init__(self, language: "LanguageModel", batch_tokens: int = 8192) -> None:
        self.name, self.normalize = language.usage.name, language.usage.normalize
        self.batch_tokens = batch_tokens
        self.new_tokens = int(language.tree.lengths.max())  # the longest title and one more, which is its end
        self._language, self._ranker = language, language.ranker()

    def write(self, histories: Sequence[IntArray], candidates: IntArray) -> list[str]:
        """(n,) texts. candidates: (n, C), read where the prompt names them. A history too long loses its oldest."""
        prompts = [
            self._prompt(history, beside) for history, beside in zip(histories, np.asarray(candidates), strict=True)
        ]
        settings = {"do_sample": False, "num_beams": 1}
        texts = [""] * len(prompts)
        for batch in self._batches(prompts):
            for index, text in zip(batch, self._continued([prompts[index] for index in batch], settings), strict=True):
                texts[index] = text
        return texts

    def draw(
        self, histories: Sequence[IntArray], count: int, *, keys: Sequence[Key], sampling: Sampling
    ) -> list[list[str]]:
        """(n, count) texts drawn behind prompts that name no candidates.

        keys: (n,) what each draw rests on; torch draws for many at once, so it rests on who is asked beside it too.
        """
        prompts = [self._prompt(history, NONE) for history in histories]
        settings = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or 0,
            "num_return_sequences": count,
        }
        texts: list[list[str]] = [[]] * len(prompts)
        device = device_of(self._language.policy)
        for batch in self._batches(prompts):
            with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
                torch.manual_seed(seed_for(*(part for index in batch for part in keys[index])))
                written = self._continued([prompts[index] for index in batch], settings)
            for place, index in enumerate(batch):
                texts[index] = written[place * count : (place + 1) * count]
        return texts

    def _batches(self, prompts: Sequence[IntArray]) -> list[list[int]]:
        widths = np.array([len(prompt) for prompt in prompts], dtype=np.int64) + self.new_tokens
        return [batch.tolist() for batch in batches_by_width(widths, self.batch_tokens)]

    def _prompt(self, history: IntArray, candidates: IntArray) -> IntArray:
        listed = candidates.astype(np.int64) if self._ranker.lists_candidates else NONE
        row = Row(self._ranker.shown(history, len(listed)), listed=listed)
        return main_path(row, self._language.tree, self._language.frame)

    def _continued(self, prompts: Sequence[IntArray], how: dict[str, Any]) -> list[str]:
        """What follows each prompt: one batch, padded in front so that all go on at the same place."""
        model, tokenizer = self._language.model, self._language.tokenizer
        end = self._language.tree.end
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), end)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.from_numpy(prompt)
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        mask = (torch.arange(width) >= width - lengths[:, None]).long()
        device = device_of(self._language.policy)
        settings = GenerationConfig(max_new_tokens=self.new_tokens, eos_token_id=end, pad_token_id=end, **how)
        # inside an adapter's wrapping, which has settings of its own
        causal: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
        with judging(self._language.policy), no_other_settings(causal, settings):
            written = causal.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=settings
            )
        answers = [answer[: answer.index(end)] if end in answer else answer for answer in written[:, width:].tolist()]
        return [
            str(tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False))
            for answer in answers
        ]
