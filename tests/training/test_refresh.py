"""The rows of a refresh, counted by hand; and the model that it begins with."""

import numpy as np
import pytest
import torch

from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.models.language import create, open_folder
from napo.training.examples import Layout, Limits
from napo.training.refresh import going_on, rows_of_passes
from napo.training.refresh_plan import sibling
from tests.cases.gpt2_world import write_gpt2
from tests.tiny_world import World, split_of, tiny_recipe


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    world = World.of(tmp_path_factory.mktemp("world"))
    # two users of 12 events: 10 to train on; a third is new, with 6: 4 to train on
    split = split_of([list(range(12)), list(range(12, 24)), list(range(6))], 40)
    return Layout(split, world.language.tree, world.language.frame, Limits(50, 512))


def rows(layout, replay, begins=(8, 10, 0), per_row=2):
    split = layout.split
    return rows_of_passes(layout, (split.begins, split.valid_from), per_row, np.array(begins), replay, seed=1)


def test_a_pass_has_all_new_rows_and_so_many_old_ones(layout):
    found = rows(layout, 0.5)(0)
    spans = [(span.user, span.begin, span.end) for span in found]
    # new: events 8 and 9 of the first user, none of the second, all four of the third
    assert spans[:3] == [(0, 8, 10), (2, 0, 2), (2, 2, 4)]
    # half old: as many events, 6, of the 18 old ones in 9 rows of two: 3 rows
    assert len(spans) == 6
    assert all(user in (0, 1) and end <= (8, 10)[user] for user, _, end in spans[3:])


def test_other_old_rows_are_drawn_in_each_pass_and_the_same_again(layout):
    draw = rows(layout, 0.5)
    assert draw(0) == rows(layout, 0.5)(0)
    assert len({tuple((span.user, span.begin) for span in draw(epoch)) for epoch in range(8)}) > 1
    assert {len(draw(epoch)) for epoch in range(8)} == {6}


def test_no_replay_or_more_than_there_is(layout):
    assert len(rows(layout, 0.0)(0)) == 3
    assert len(rows(layout, 0.95)(0)) == 3 + 9
    assert len(rows(layout, 0.5, begins=(0, 0, 0))(0)) == 12  # all is new


def test_where_all_that_is_new_is_held_out_there_is_nothing_to_train_on(layout):
    with pytest.raises(UserError, match="no new interaction is left to train on"):
        rows(layout, 0.5, begins=(10, 11, 4))


def test_a_refresh_has_a_name_beside_its_run(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    assert sibling(old).name == "old-r2"
    assert sibling(old, resume=True).name == "old-r2"
    (tmp_path / "old-r2").mkdir()
    assert sibling(old).name == "old-r3"
    assert sibling(old, resume=True).name == "old-r2"
    assert sibling(tmp_path / "old-r2").name == "old-r3"
    assert sibling(tmp_path / "old-r2", resume=True).name == "old-r3"
    (tmp_path / "latest").symlink_to("old-r2")
    assert sibling(tmp_path / "latest").name == "old-r3"
    assert sibling(tmp_path / "seed-0").name == "seed-0-r2"


def began(folder, **sections):
    """A run's model, as good as finished; the recipe that goes on from it; a catalog with two items more."""
    recipe = tiny_recipe(folder / "data", refresh={"run": folder / "old"}, **sections)
    keys, titles = zip(*((f"i{item:02d}", f"Title number {item}") for item in range(40)), strict=True)
    catalog = Catalog(keys, titles)
    language = create(recipe.model, catalog, recipe.prompt, recipe.normalize, recipe.seed)
    language.save(folder / "old" / "model")
    return language, going_on(recipe, Catalog((*catalog.keys, "a", "b"), (*catalog.titles, "Entitled", "Numb titles")))


def trained(language):
    return {name for name, weight in language.model.named_parameters() if weight.requires_grad}


def test_tiny_goes_on_with_the_old_weights_and_tokens_and_more_of_both(tmp_path):
    old, new = began(tmp_path)
    assert len(new.tokenizer) > len(old.tokenizer)
    rows = len(old.tokenizer)
    for name, weight in old.model.named_parameters():
        assert torch.equal(dict(new.model.named_parameters())[name][:rows], weight), name
    assert [new.tree.title(item).tolist() for item in range(40)] == [
        old.tree.title(item).tolist() for item in range(40)
    ]
    assert (new.tree.items, new.usage.trained) == (42, None)
    assert trained(new) == trained(old)
    new.save(tmp_path / "new")  # and is a model like any other
    assert torch.equal(open_folder(tmp_path / "new").model.lm_head.weight, new.model.lm_head.weight)


def test_an_adapter_goes_on_and_it_alone_trains(tmp_path):
    base = write_gpt2(tmp_path / "gpt2", [f"Title number {item}" for item in range(40)])
    model = {"name": str(base), "lora": {"r": 2}, "precision": "float32"}
    old, new = began(tmp_path, model=model, prompt={"max_tokens": 256}, auxiliary=None)
    assert len(new.tokenizer) == len(old.tokenizer)
    assert trained(new) == trained(old)
    assert all("lora_" in name for name in trained(new))
    assert new.tree.items == 42
