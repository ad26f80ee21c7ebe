"""Prompts that say more of an item than its title."""

import logging

import numpy as np
import polars as pl
import pytest

from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.models.columns import columns_as_text
from napo.models.language import create, open_folder
from napo.models.policy import LanguagePolicy
from napo.recipe import Recipe, check_methods
from napo.recipe_keys import ModelSection, PromptSection
from napo.scoring.batch import Row
from napo.scoring.naive import naive_title_log_probs
from napo.training.run import train_recipe
from tests.recommenders import FILMS
from tests.tiny_world import Quiet, tiny_keys

COLUMNS = pl.DataFrame(
    {
        "genre": [["Horror", "Sci-Fi"], ["Action"], [], *([["Drama"]] * 37)],
        "year": [1979.0, 1986.0, 2004.5, *([2000.0] * 37)],
        "made by": ["Scott", " Cameron \n & Co ", None, *(["nobody"] * 37)],
    }
)
WITH_COLUMNS = Catalog(FILMS.keys, FILMS.titles, COLUMNS)
SMALL = {"width": 32, "layers": 1, "heads": 2, "feed_forward": 32, "vocabulary": 500}


def model_of(folder, text: str, catalog=WITH_COLUMNS, kind="next"):
    (folder / "mine.txt").write_text(text, encoding="utf-8")
    prompt = PromptSection(template=str(folder / "mine.txt"), kind=kind, max_history=5, max_tokens=128)
    return create(ModelSection(**SMALL), catalog, prompt, "catalog", seed=0)


def test_columns_become_one_line_each_and_what_is_missing_is_counted(caplog):
    with caplog.at_level(logging.WARNING):
        found = columns_as_text(WITH_COLUMNS, ["genre", "year", "made by"])
    assert found["genre"][:4] == ["Horror, Sci-Fi", "Action", "unknown", "Drama"]
    assert found["year"][:4] == ["1979", "1986", "2004.5", "2000"]
    assert found["made by"][:3] == ["Scott", "Cameron & Co", "unknown"]
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 40 items have no `genre`: the prompt says `unknown`",
        "1 of 40 items have no `made by`: the prompt says `unknown`",
    ]


def test_a_field_that_is_no_column_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(UserError, match=r"`\{gener\}` in the prompt template is neither") as refused:
        model_of(tmp_path, "Liked: {history: {title} ({gener})}")
    assert refused.value.remedy == "`{genre}`; its columns are genre, year, made by"
    with pytest.raises(UserError, match=r"\{genre\}") as refused:
        model_of(tmp_path, "Liked: {history: {title} ({genre})}", Catalog(FILMS.keys, FILMS.titles))
    assert "no columns" in refused.value.remedy


def test_a_template_of_the_other_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="names the candidates") as refused:
        model_of(tmp_path, "Liked: {history} of {candidates}: ")
    assert refused.value.remedy.startswith("`prompt.kind: list`")
    with pytest.raises(UserError, match="names no candidates"):
        model_of(tmp_path, "Liked: {history}", kind="list")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Liked:\n{history: {title} ({genre}, {year})}", "next"),
        ("Liked:\n{history: {made by}: {title}}", "next"),
        ("Liked:\n{history: {title} ({genre})}\nOf:\n{candidates: {title} by {made by}}\nNext:\n", "list"),
    ],
)
def test_scores_are_the_naive_ones_and_the_same_after_a_reload(tmp_path, text, kind):
    language = model_of(tmp_path, text, kind=kind)
    assert language.shared
    histories, candidates = [np.array([0, 1, 2]), np.array([7])], np.array([[3, 4, 5], [0, 2, 9]])
    scores = language.ranker().candidate_scores(histories, candidates)
    rows = [
        Row(h, branches=c, sees=np.full(3, len(h)), listed=c if kind == "list" else c[:0])
        for h, c in zip(histories, candidates, strict=True)
    ]
    policy = LanguagePolicy(language.model)
    naive = naive_title_log_probs(policy, rows, language.tree, language.frame, "catalog").detach().reshape(2, 3)
    np.testing.assert_allclose(scores, naive, atol=1e-4)
    (tmp_path / "saved").mkdir()
    language.save(tmp_path / "saved")
    back = open_folder(tmp_path / "saved")
    np.testing.assert_allclose(back.ranker().candidate_scores(histories, candidates), scores, atol=1e-6)
    assert back.wording == language.wording
    if kind == "list":
        with pytest.raises(UserError, match="can't rank the whole catalog"):
            language.ranker().top(histories, [h[:0] for h in histories], 3)
    else:
        every = language.ranker().all_scores(histories)
        np.testing.assert_allclose(np.take_along_axis(every, candidates, 1), scores, atol=1e-4)


def test_what_is_said_of_items_decides_scores_and_the_wording(tmp_path):
    text = "Liked:\n{history: {title} ({genre})}"
    other = COLUMNS.with_columns(genre=pl.lit("Comedy"))
    one, two = model_of(tmp_path, text), model_of(tmp_path, text, Catalog(FILMS.keys, FILMS.titles, other))
    assert one.wording != two.wording
    assert one.wording[:1] == two.wording[:1] == ["Liked:\n"]


def test_a_history_keeps_as_many_items_as_fit_with_all_that_is_said_of_them(tmp_path):
    plain, said = model_of(tmp_path, "Liked: {history}"), model_of(tmp_path, "Liked: {history: {title} {genre} {year}}")
    history = np.arange(40)
    for language in (plain, said):
        shown = language.ranker().shown(history)
        tokens = language.frame.history_tokens(language.tree).lengths[shown].sum() + language.frame.words
        assert tokens + language.tree.lengths.max() <= 128
    assert len(said.ranker().shown(history)) <= len(plain.ranker().shown(history))


def recipe_with_genres(folder, line: str):
    """The small log, with a genre for each item, and a template that says it."""
    keys = tiny_keys(folder)
    items = pl.read_csv(folder / "items.csv").with_columns(genre=pl.format("kind {}", pl.int_range(40) % 3))
    items.write_csv(folder / "items.csv")
    (folder / "mine.txt").write_text(f"Liked:\n{{history: {line}}}\n", encoding="utf-8")
    keys["prompt"] = {"template": str(folder / "mine.txt")}
    keys |= {"objective": {"name": "sdpo"}, "sft": {"epochs": 0.5}, "preference": {"epochs": 0.25}}
    return check_methods(Recipe.model_validate(keys))


def test_a_run_of_trajectories_trains_on_what_is_said_and_ranks_the_whole_catalog(tmp_path):
    run = train_recipe(recipe_with_genres(tmp_path, "{title} ({genre})"), tmp_path / "run", progress=Quiet())
    assert set(run.outcomes) == {"sft", "preference"}
    back = open_folder(tmp_path / "run" / "model")
    every = back.ranker().all_scores([np.array([1, 2, 3])])
    np.testing.assert_allclose(np.exp(every).sum(), 1, rtol=1e-4)
    said = back.frame.history_tokens(back.tree).of(np.array([4]))
    title = back.catalog.titles[4]
    kind = int(title.split()[-1]) % 3
    assert back.tokenizer.decode([token for token in said if token != back.tree.end]) == f"{title} (kind {kind})"


def test_a_line_that_would_tell_what_it_is_about_to_ask_is_refused_for_trajectories(tmp_path):
    with pytest.raises(UserError, match="says something of an item before its title") as refused:
        train_recipe(recipe_with_genres(tmp_path, "{genre}: {title}"), tmp_path / "run", progress=Quiet())
    assert "form: prompt" in refused.value.remedy
