"""What a saved recommender's folder holds, who else can open it, and what its card says."""

import json
import threading

import polars as pl
import pytest
import torch
import yaml
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

import napo
from napo.cli import main
from napo.errors import UserError
from napo.models.pretrained import with_lora
from napo.recipe_keys import LoraSection
from napo.serving.recommender import Recommender
from napo.serving.request import UnknownUser
from tests.recommenders import FILMS, USERS, small_recommender

HISTORY = ["Alien", "Title number 9"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder as `napo train` leaves it, with made-up figures."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    small_recommender().save(folder / "model")
    for name in ("README.md", "metrics.json"):
        (folder / "model" / name).unlink()  # a run's own model folder has neither
    recipe = {
        "data": {"source": "ml-100k", "interactions": None},
        "objective": {"name": "/home/somebody/secret/mine.py"},
        "model": {"name": "tiny"},
        "normalize": "catalog",
        "split": {"name": "last_tenth"},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    said = {"data": "ab" * 32, "counts": {"users": 943, "test_cases": 5152}, "notes": ["times: seconds"], "seed": 3}
    (folder / "run.json").write_text(json.dumps({**said, "versions": {"napo": "0.1.0"}}))
    estimate = {"value": 0.412, "low": 0.398, "high": 0.426, "error": 0.007, "seed_error": 0.0, "freedom": None}
    bias = {**estimate, "value": 4.62, "low": 4.6, "high": 4.65}
    row = {"name": "NAPO", "seeds": 1, "metrics": {"HR@1": estimate, "log popularity": bias}, "figures": {}}
    table = {
        "heading": "cand20, uniform negatives",
        "metric": "HR@1",
        "aims": {"log popularity of targets": 3.708},
        "leaked": True,
        "notes": ["88 of 5,152 targets never occur in training"],
        "checks": [{"line": "slot: 0.9 FAIL", "verdict": "FAIL"}],
        "rows": [row],
    }
    compared = {"tables": {"cand20": table}, "runs": [{"name": "NAPO", "verdicts": ["NAPO helped."]}]}
    (folder / "comparison.json").write_text(json.dumps(compared))
    return folder


@pytest.fixture
def saved(run, tmp_path):
    Recommender.load(run).save(tmp_path / "saved")
    return tmp_path / "saved"


def test_plain_transformers_opens_the_folder(saved):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(saved), AutoTokenizer.from_pretrained(saved)
    recommender = Recommender.load(saved)
    ids = torch.tensor([tokenizer("Alien")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, recommender.language.model(ids).logits)


def test_plain_peft_opens_a_folder_with_an_adapter(tmp_path):
    base = small_recommender()
    base.save(tmp_path / "base")
    opened = Recommender.load(tmp_path / "base")
    model = with_lora(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), LoraSection(r=2), seed=1)
    opened.language.model, opened.language.policy.model = model, model
    opened.save(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert type(AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")).__name__ == "PeftModelForCausalLM"
    head = (tmp_path / "adapter" / "README.md").read_text().split("---")[1]
    assert yaml.safe_load(head)["library_name"] == "peft"
    assert len(Recommender.load(tmp_path / "adapter").recommend(HISTORY)) == 10


def test_without_histories_the_folder_answers_histories_alone(run, tmp_path):
    whole = Recommender.load(run)
    whole.save(tmp_path / "bare", histories=False)
    bare = Recommender.load(tmp_path / "bare")
    assert bare.recommend(HISTORY) == whole.recommend(HISTORY)
    assert bare.recommend([]) == whole.recommend([])
    assert pl.read_parquet(tmp_path / "bare" / "histories.parquet").height == 0
    with pytest.raises(UnknownUser, match="saved without histories") as caught:
        bare.recommend(user="ann")
    assert "history" in caught.value.remedy
    assert "The folder holds no user's events" in (tmp_path / "bare" / "README.md").read_text()


def test_the_card_says_what_the_run_came_to_and_nothing_of_its_machine(saved):
    card = (saved / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["tags"] == ["napo", "recommender-system"]
    for said in (
        "# NAPO on ml-100k",
        "users 943; test cases 5,152",
        "0.412 [0.398, 0.426]",
        "4.620 [4.600, 4.650]",
        "3.708",
        "**LEAKED: these figures say nothing.** slot: 0.9 FAIL",
        "88 of 5,152 targets never occur in training",
        "NAPO helped.",
        "what 3 users liked and met",
        "1 items have the title of another",
        "may not be redistributed",  # the terms of the data
    ):
        assert said in card
    assert "somebody" not in card
    assert "somebody" not in (saved / "metrics.json").read_text()


def test_the_card_and_its_licence_are_kept_when_the_folder_is_saved_again(saved, tmp_path):
    Recommender.load(saved).save(tmp_path / "named", licence="cc-by-4.0")
    Recommender.load(tmp_path / "named").save(tmp_path / "again")
    card = (tmp_path / "again" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["license"] == "cc-by-4.0"
    assert card == (tmp_path / "named" / "README.md").read_text()
    assert "0.412 [0.398, 0.426]" in card


def test_a_model_of_which_nothing_is_known_gets_a_card_that_says_so(tmp_path):
    small_recommender().save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Nothing is known of it" in card
    assert "was not judged" in card
    assert "None" not in card


def test_titles_that_would_be_split_in_another_way_are_refused(saved):
    said = json.loads((saved / "napo.json").read_text())
    (saved / "napo.json").write_text(json.dumps({**said, "tree": "0" * 64}))
    with pytest.raises(UserError, match="another prefix tree"):
        Recommender.load(saved)


def test_the_command_writes_the_folder(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["export", str(run), "--out", str(tmp_path / "out"), "--no-histories", "--licence", "mit"])
    assert not end.value.code
    assert str(tmp_path / "out") in capsys.readouterr().out
    assert napo.Recommender.load(tmp_path / "out").users == ()
    with pytest.raises(SystemExit) as end:
        main(["explain", str(tmp_path / "out"), "--title", "Crash", "--history", "Alien; Aliens"])
    assert not end.value.code
    assert "the history adds" in capsys.readouterr().out


def test_threads_that_ask_at_once_get_what_each_would_alone():
    recommender = small_recommender(remembers=1_000_000)
    recommender.language.model.train()  # so that each switches it to judging and back
    histories = [[f"Title number {number}", "Alien"] for number in range(6, 22)]
    alone = [recommender.recommend(history, k=5) for history in histories]
    found = [None] * len(histories)

    def ask(place):
        found[place] = recommender.recommend(histories[place], k=5)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(histories))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, alone, strict=True):
        assert [item.item for item in one] == [item.item for item in other]
    assert recommender.language.model.training


def events(users, items, length=8):
    return pl.DataFrame(
        [
            {"user": f"u{user}", "item": items[(3 * user + step) % len(items)], "time": 1000 * step}
            for user in range(users)
            for step in range(length)
        ]
    )


@pytest.mark.parametrize(("protocol", "metric"), [("full", "HR@10"), ("cand20", "HR@1")])
def test_another_log_is_judged_among_chance_and_popularity(protocol, metric):
    table = small_recommender().evaluate(events(20, list(FILMS.keys)), protocol=protocol, name="mine")
    assert [row.name for row in table.rows] == ["chance", "popularity", "mine"]
    assert table.metric == metric
    assert {row.metrics[metric].value <= 1 for row in table.rows} == {True}


def test_events_of_items_that_the_model_does_not_know_are_left_out_and_counted(tmp_path):
    log = events(20, [*FILMS.keys[:20], "new1", "new2"])
    gone = log.filter(pl.col("item").str.starts_with("new")).height
    log.write_csv(tmp_path / "log.csv")
    table = small_recommender().evaluate(tmp_path / "log.csv")
    assert table.notes[0] == f"{gone} events left out: 2 items of the log are not in the model's catalog"


def test_a_log_of_other_items_and_a_protocol_that_there_is_not_are_mistakes():
    recommender = small_recommender()
    with pytest.raises(UserError, match="none of the log's 3 items"):
        recommender.evaluate(events(5, ["x", "y", "z"]))
    with pytest.raises(UserError, match="no protocol 'gen20'"):
        recommender.evaluate(events(5, list(FILMS.keys)), protocol="gen20")
    with pytest.raises(UserError, match="no column user"):
        recommender.evaluate(pl.DataFrame({"item": ["i01"]}))


def test_users_are_asked_for_by_key(run):
    assert Recommender.load(run).users == USERS.user_keys
