"""Titles in any script, from the file to what is recommended: same letters, same items."""

import csv

import numpy as np
import pytest

from napo.data.prepare import prepare
from napo.models.language import create, open_folder
from napo.recipe import Recipe
from napo.scoring.ranker import TitleRanker
from napo.serving.history import read_items
from tests.tiny_world import tiny_keys

TITLES = [
    "🎬 The Film 🍿",
    "👨‍👩‍👧 Family",  # three people joined into one sign
    "👨 Family",
    "فيلم الرسالة",
    "מבצע יונתן",
    "千と千尋の神隠し",
    "千と千尋",
    "기생충",
    "Am\u00e9lie",  # composed
    "Ame\u0301lie",  # decomposed: the same to the eye
    "\uff26\uff55\uff4c\uff4c width",  # letters of full width
    "Full width",
    "Naïve <end> \u200b of <begin>",  # reads like the tokenizer's own tokens; a blank of no width
    "สัตว์ประหลาด",
]


@pytest.fixture(params=[300, 2000], ids=["mostly bytes", "mostly whole titles"])
def world(request, tmp_path):
    keys = tiny_keys(tmp_path)
    with (tmp_path / "items.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item", "title"])
        rows.writerows([f"i{item:02d}", (TITLES + [f"Title {item}"] * 40)[item]] for item in range(40))
    keys["model"]["vocabulary"] = request.param
    recipe = Recipe.model_validate(keys)
    catalog = prepare(recipe).log.catalog
    return create(recipe.model, catalog, recipe.prompt, "catalog", seed=0), tmp_path


def test_titles_keep_their_letters_and_no_two_become_one(world):
    language, _ = world
    found = dict(zip(language.catalog.keys, language.catalog.titles, strict=True))
    assert [found[f"i{item:02d}"] for item in range(len(TITLES))] == TITLES
    ours = [language.catalog.index[f"i{item:02d}"] for item in range(len(TITLES))]
    assert len(set(language.tree.leaf[ours].tolist())) == len(TITLES)
    for item in ours:
        assert language.tokenizer.decode(language.tree.title(item)[:-1]) == language.catalog.titles[item]
    special = set(language.tokenizer.all_special_ids) - {language.tree.end}
    assert not special & set(language.tree.token.tolist())


def test_each_title_is_found_as_it_was_typed_and_ranked_by_its_own_number(world):
    language, folder = world
    (folder / "saved").mkdir()
    language.save(folder / "saved")
    back = open_folder(folder / "saved")
    assert back.catalog.titles == language.catalog.titles
    ranker: TitleRanker = back.ranker()
    for title in TITLES:
        named = read_items([title], back.catalog)
        assert back.catalog.titles[named.items[0]] == title
    every = ranker.all_scores([named.items])
    best, scores = ranker.top_with_scores([named.items], [np.array([], dtype=int)], 40)
    assert sorted(best[0].tolist()) == list(range(40))
    np.testing.assert_allclose(scores[0], every[0][best[0]], atol=1e-5)
    np.testing.assert_allclose(every, language.ranker().all_scores([named.items]), atol=1e-6)
