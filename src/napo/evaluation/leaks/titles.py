"""Check 6: what the words alone give away.

Path    titles, candidate lists, the prompt's words -> [evaluation.leaks.titles] -> leaks
Takes   LeakInputs
Gives   Check `title`
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from scipy import stats

from napo.arrays import BoolArray, FloatArray, IntArray
from napo.data.catalog import equal_titles
from napo.evaluation.leaks.check import Check, LeakInputs, PromptText, Word, first_places, share
from napo.evaluation.protocols import histories_of


def title(inputs: LeakInputs) -> Check:
    """Rules that read titles and slots alone, and whether a prompt names its target outside the list.

    value: HR@1 of the best rule; the reference has all of them. WARN: it finds twice as many as chance, or more, and
    p < .01. in_prompt: the share of targets whose title stands in the prompt's words or in the history it shows, with
    that of the other candidates; FAIL above 1 % more of the former, where repeats are not allowed. substrings: lists
    in which a title lies inside another's, which a judge who looks for substrings gets wrong.
    """
    lists, cases = inputs.test_lists, inputs.test_cases
    titles = [folded(one) for one in inputs.split.catalog.titles]
    shown = None if inputs.prompt is None else inputs.prompt.max_history
    histories = histories_of(cases, slice(0, len(cases)), shown)
    hits = {name: first_places(scores, lists) for name, scores in _rules(titles, histories, lists.items).items()}
    rates = {name: float(found.mean()) for name, found in hits.items()}
    best = max(rates, key=rates.__getitem__)
    value, interval = share(hits[best], cases)
    p_value = stats.binomtest(int(hits[best].sum()), len(cases), inputs.chance, alternative="greater").pvalue
    warned = value >= 2 * inputs.chance and p_value < 0.01 / len(rates)
    reference = {**rates, "substrings": _lists_with_substrings(titles, lists.items)}
    notes = [f"the {best} title is a rule"] if warned and best in ("shortest", "longest") else []
    notes += [f"the rule `{best}` finds targets"] if warned and not notes else []
    failed = False
    if inputs.prompt is None:
        notes.append("no prompt")
    else:
        named = titles_in_prompt(titles, histories, inputs.prompt, lists.items)
        of_target = named[np.arange(len(named)), lists.slot]
        of_others = (named.sum() - of_target.sum()) / (named.size - len(named))
        reference |= {"in_prompt": float(of_target.mean()), "others_in_prompt": float(of_others)}
        failed = bool(of_target.mean() > of_others + 0.01) and inputs.split.mask_seen == "history"
        notes += ["the prompt names the target"] if failed else []
    verdict: Word = "FAIL" if failed else "WARN" if warned else "ok"
    return Check("title", value, verdict, interval, reference, "; ".join(notes), about="prompt")


def folded(text: str) -> str:
    """Case, kinds of blanks and of letters set aside: what a reader takes for the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def titles_in_prompt(
    titles: Sequence[str], histories: Sequence[IntArray], prompt: PromptText, items: IntArray
) -> BoolArray:
    """(cases, C) whether a candidate's title stands in the prompt's words or is a title of the history shown."""
    groups = equal_titles(titles)
    words = folded(" ".join(prompt.words))
    in_words = np.array(
        [one in words and re.search(rf"(?<!\w){re.escape(one)}(?!\w)", words) is not None for one in titles]
    )
    rows = zip(histories, items, strict=True)
    in_history = np.array([np.isin(groups[row], groups[history]) for history, row in rows])
    return np.asarray(in_history | in_words[items])


def _rules(titles: Sequence[str], histories: Sequence[IntArray], items: IntArray) -> dict[str, FloatArray]:
    """By name: scores of the candidates (cases, C) from their titles, and from their slots."""
    lengths = np.array([len(one) for one in titles], dtype=np.float64)[items]
    slots = np.broadcast_to(np.arange(items.shape[1], dtype=np.float64), items.shape)
    return {
        "shortest": -lengths,
        "longest": lengths,
        "shared_words": _shared_words(titles, histories, items),
        "first": -slots,
        "last": slots,
    }


def _shared_words(titles: Sequence[str], histories: Sequence[IntArray], items: IntArray) -> FloatArray:
    """(cases, C) how many of a candidate's words stand in titles of the history."""
    number: dict[str, int] = {}
    words = [sorted({number.setdefault(word, len(number)) for word in re.findall(r"\w+", one)}) for one in titles]
    table = np.full((len(titles), max(map(len, words), default=0)), len(number))  # (items, most words), filled up
    for item, mine in enumerate(words):
        table[item, : len(mine)] = mine
    shared = np.zeros(items.shape)
    met = np.zeros(len(number) + 1, dtype=np.bool_)
    for case, history in enumerate(histories):
        met[:] = False
        met[table[history]] = True
        met[-1] = False  # what rows are filled up with
        shared[case] = met[table[items[case]]].sum(axis=1)
    return shared


def _lists_with_substrings(titles: Sequence[str], items: IntArray) -> float:
    """The share of lists in which a title lies inside another candidate's."""
    found = 0
    for row in items.tolist():
        mine = sorted((titles[item] for item in row), key=len)
        # one long text, a line each: a title is inside another where it comes a second time
        text = "\n".join(mine)
        found += any(text.count(one) > 1 for one in mine)
    return found / len(items)
