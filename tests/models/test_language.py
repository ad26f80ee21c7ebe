import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from napo.data.catalog import Catalog
from napo.errors import UserError
from napo.models.language import LanguageModel, create, open_folder, recipe_dropout
from napo.models.tiny import make_tokenizer
from napo.models.tokens import end_token, title_tokens, tokenizer_digest
from napo.recipe_keys import DropoutSection, LoraSection, ModelSection, PromptSection
from tests.recommenders import FILMS
from tests.scoring.toys import gpt2

SMALL = {"width": 32, "layers": 1, "heads": 2, "feed_forward": 32, "vocabulary": 400}
PROMPT = PromptSection(max_history=5, max_tokens=64)
# of at most 400 tokens, the 40 titles and the template fill 361
HISTORIES = [np.array([1, 2, 3]), np.array([7])]
CANDIDATES = np.array([np.arange(20), np.arange(20, 40)])


def tiny(seed: int = 0, **settings) -> LanguageModel:
    return create(ModelSection(**{**SMALL, **settings}), FILMS, PROMPT, "catalog", seed)


def saved(tmp_path, language: LanguageModel | None = None) -> Path:
    folder = tmp_path / "saved"
    folder.mkdir()
    (language or tiny()).save(folder)
    return folder


def scores(language: LanguageModel):
    return language.ranker().candidate_scores(HISTORIES, CANDIDATES)


def test_scores_are_the_same_after_a_reload(tmp_path):
    language = tiny()
    back = open_folder(saved(tmp_path, language))
    np.testing.assert_allclose(scores(back), scores(language), rtol=0, atol=1e-6)
    assert back.usage == language.usage
    assert back.catalog.titles == FILMS.titles


def test_the_folder_holds_no_pickle_and_opens_in_plain_transformers(tmp_path):
    language = tiny()
    folder = saved(tmp_path, language)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors", ".parquet"}
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("Alien", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, language.model.eval()(ids).logits)


def test_embeddings_and_head_are_one_tensor_before_and_after(tmp_path):
    for language in (tiny(), open_folder(saved(tmp_path))):
        model = language.model
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_saving_and_opening_draw_no_bars(tmp_path, capfd):
    open_folder(saved(tmp_path))
    shown = capfd.readouterr()
    assert "shards" not in shown.err
    assert "Loading" not in shown.err


def test_the_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = scores(tiny(seed=3))
    torch.manual_seed(2)
    np.testing.assert_array_equal(scores(tiny(seed=3)), first)
    assert not np.array_equal(scores(tiny(seed=4)), first)


# -- folders that are not what they should be


def test_a_tokenizer_that_is_not_the_models_own_is_refused_with_both_sizes(tmp_path):
    folder = saved(tmp_path)
    other = make_tokenizer([*FILMS.titles, "Other words"], [], 300)
    other.save_pretrained(folder)
    with pytest.raises(UserError, match=r"\(300 tokens\) is not .* \(361 tokens\)") as refused:
        open_folder(folder)
    assert refused.value.where == str(folder)


def test_a_tokenizer_with_a_token_more_is_refused(tmp_path):
    folder = saved(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"\(362 tokens\)"):
        open_folder(folder)


def test_fewer_token_vectors_than_tokens_are_refused(tmp_path):
    language = tiny()
    folder = saved(tmp_path, language)
    language.tokenizer.add_tokens(["<new>"])
    language.tokenizer.save_pretrained(folder)
    language.save_usage(folder)
    with pytest.raises(UserError, match="361 token vectors and its tokenizer 362 tokens"):
        open_folder(folder)


def test_tokens_added_before_training_come_back_with_their_vectors(tmp_path):
    language = tiny()
    language.tokenizer.add_tokens(["<new>"])
    language.model.resize_token_embeddings(401)
    with torch.no_grad():
        language.model.get_input_embeddings().weight[400] = 0.5
    back = open_folder(saved(tmp_path, language))
    assert back.model.get_input_embeddings().weight[400].eq(0.5).all()
    np.testing.assert_allclose(scores(back), scores(language), rtol=0, atol=1e-6)


def lose_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def plant_a_pickle(folder: Path) -> None:
    """A file that would write another, were it unpickled."""
    planted = folder / "planted"

    class Payload:
        def __reduce__(self):
            return Path.touch, (planted,)

    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Payload()}, folder / "pytorch_model.bin")


DAMAGES = {
    "cut short": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:-1000]
    ),
    "a tensor missing": lose_a_tensor,
    "a pickle": plant_a_pickle,
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "no tokenizer": lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
    "no meta": lambda folder: (folder / "napo.json").unlink(),
    "meta cut short": lambda folder: (folder / "napo.json").write_text('{"format": 1, "na'),
    "meta with holes": lambda folder: (folder / "napo.json").write_text('{"format": 1}'),
    "meta of another format": lambda folder: (folder / "napo.json").write_text('{"format": 2}'),
    "no catalog": lambda folder: (folder / "catalog.parquet").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_a_users_mistake(damage, tmp_path):
    folder = saved(tmp_path)
    DAMAGES[damage](folder)
    with pytest.raises(UserError) as refused:
        open_folder(folder)
    assert str(folder) in (refused.value.where or "")
    assert not (folder / "planted").exists()


def test_no_such_folder_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"no model that napo saved lies there") as refused:
        open_folder(tmp_path / "nowhere")
    assert "run's folder" in refused.value.remedy


def test_another_catalog_brings_its_own_titles(tmp_path):
    longer = Catalog((*FILMS.keys, "new"), (*FILMS.titles, "A new film"))
    language = open_folder(saved(tmp_path), longer)
    assert language.tree.items == 41


# -- models that somebody brings


def brought(tmp_path, model: torch.nn.Module | None = None) -> Path:
    """A folder with a model and its tokenizer, as from anywhere."""
    folder = tmp_path / "brought"
    language = tiny(seed=7)
    language.tokenizer.save_pretrained(folder)
    (model or language.model).save_pretrained(folder)
    return folder


def test_a_local_folder_is_a_model_by_its_name(tmp_path):
    folder = brought(tmp_path)
    language = create(ModelSection(name=str(folder)), FILMS, PROMPT, "vocabulary", seed=0)
    assert language.usage.name == "brought"
    assert language.model.dtype == torch.float32
    again = open_folder(saved(tmp_path, language))
    np.testing.assert_allclose(scores(again), scores(language), rtol=0, atol=1e-6)


def test_gpt2_is_taken_too(tmp_path):
    folder = brought(tmp_path, gpt2(vocabulary=400).float())
    prompt = PromptSection(max_history=5, max_tokens=96)
    language = create(ModelSection(name=str(folder)), FILMS, prompt, "catalog", seed=0)
    np.testing.assert_allclose(
        np.exp(language.ranker().all_scores(HISTORIES)[0]).sum(), 1.0 + twins(language), rtol=1e-5
    )


def twins(language: LanguageModel) -> float:
    """The two films called Crash share one title and count twice."""
    return float(np.exp(language.ranker().all_scores(HISTORIES)[0][2]))


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "~nobody/model"])
def test_a_folder_that_is_not_there_is_said(name):
    with pytest.raises(UserError, match="no folder") as refused:
        create(ModelSection(name=name), FILMS, PROMPT, "catalog", seed=0)
    assert refused.value.where == "model.name"
    assert "tiny" in refused.value.remedy


def test_a_brought_model_that_is_not_whole_is_refused(tmp_path):
    folder = brought(tmp_path)
    lose_a_tensor(folder)
    with pytest.raises(UserError, match=r"1 tensors are missing, such as model\.norm\.weight"):
        create(ModelSection(name=str(folder)), FILMS, PROMPT, "catalog", seed=0)


def test_rows_longer_than_the_model_reads_are_refused(tmp_path):
    folder = brought(tmp_path)  # made for 64 tokens
    with pytest.raises(UserError, match="reads at most 64 tokens, and a row may have 128") as refused:
        create(ModelSection(name=str(folder)), FILMS, PromptSection(max_tokens=128), "catalog", seed=0)
    assert refused.value.where == "prompt.max_tokens"


def test_a_brought_tokenizer_larger_than_the_model_is_refused(tmp_path):
    folder = brought(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="361 token vectors and its tokenizer 362 tokens"):
        create(ModelSection(name=str(folder)), FILMS, PROMPT, "catalog", seed=0)


def test_float16_is_refused_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    section = ModelSection(name=str(brought(tmp_path)), precision="float16")
    with pytest.raises(UserError, match="float16 can't train on a CPU"):
        create(section, FILMS, PROMPT, "catalog", seed=0)


# -- adapters


def adapted(folder: Path, **settings) -> LanguageModel:
    section = ModelSection(name=str(folder), lora=LoraSection(**{"r": 2, **settings}), precision="float32")
    return create(section, FILMS, PROMPT, "catalog", seed=0)


def test_an_adapters_scores_are_the_same_after_a_reload(tmp_path):
    language = adapted(brought(tmp_path))
    for name, parameter in language.model.named_parameters():
        if "lora_B" in name:  # zeros at the start
            torch.nn.init.normal_(parameter, std=0.2)
    plain = scores(create(ModelSection(name=str(tmp_path / "brought")), FILMS, PROMPT, "catalog", seed=0))
    assert np.abs(scores(language) - plain).max() > 0.1
    back = open_folder(saved(tmp_path, language))
    np.testing.assert_allclose(scores(back), scores(language), rtol=0, atol=1e-6)


def test_an_adapter_starts_as_the_model_that_it_is_laid_on(tmp_path):
    folder = brought(tmp_path)
    plain = create(ModelSection(name=str(folder)), FILMS, PROMPT, "catalog", seed=0)
    np.testing.assert_allclose(scores(adapted(folder)), scores(plain), rtol=0, atol=1e-6)
    trained = [name for name, parameter in adapted(folder).model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


def test_layers_that_the_model_does_not_have_are_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="does not fit this model") as refused:
        adapted(brought(tmp_path), targets=("no_such_layer",))
    assert refused.value.where == "model.lora.targets"


def test_an_adapter_whose_base_is_gone_is_a_users_mistake(tmp_path):
    language = adapted(brought(tmp_path))
    folder = saved(tmp_path, language)
    shutil.rmtree(tmp_path / "brought")
    with pytest.raises(UserError, match="the adapter can't be loaded"):
        open_folder(folder)


# -- titles and tokens


def test_each_title_ends_with_the_end_token():
    language = tiny()
    tokens = title_tokens(language.tokenizer, ["Alien", "Aliens"])
    end = end_token(language.tokenizer)
    assert [title[-1] for title in tokens] == [end, end]
    assert tokens[0] != tokens[1][: len(tokens[0])]
    assert all(
        language.tokenizer.decode(title[:-1]) == name for title, name in zip(tokens, ["Alien", "Aliens"], strict=True)
    )


def test_a_tokenizer_without_an_end_token_is_a_users_mistake():
    tokenizer = tiny().tokenizer
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end token"):
        end_token(tokenizer)


def test_the_digest_of_a_tokenizer_is_of_its_tokens_and_special_ones():
    plain, other = tiny().tokenizer, tiny().tokenizer
    assert tokenizer_digest(plain) == tokenizer_digest(other)
    other.eos_token = "a"
    assert tokenizer_digest(plain) != tokenizer_digest(other)
    other = tiny().tokenizer
    other.add_tokens(["<new>"])
    assert tokenizer_digest(plain) != tokenizer_digest(other)


# -- dropout


def moved_by_dropout(language: LanguageModel) -> bool:
    language.model.train()
    ids = torch.arange(8)[None]
    with torch.no_grad():
        one, other = (language.model(input_ids=ids).logits for _ in range(2))
    language.model.eval()
    return not torch.equal(one, other)


@pytest.mark.parametrize(("embedding", "block"), [(0.5, 0.0), (0.0, 0.5)])
def test_a_tiny_models_dropout_is_on_within_the_block_alone(embedding, block):
    section = ModelSection(**SMALL, dropout=DropoutSection(embedding=embedding, block=block))
    language = create(section, FILMS, PROMPT, "catalog", seed=0)
    assert not moved_by_dropout(language)
    with recipe_dropout(language, section):
        assert moved_by_dropout(language)
    with recipe_dropout(language, section, on=False):
        assert not moved_by_dropout(language)
    assert not moved_by_dropout(language)


def test_an_adapters_own_dropout_can_be_switched_off_and_comes_back(tmp_path):
    folder = brought(tmp_path)
    section = ModelSection(name=str(folder), lora=LoraSection(r=2, dropout=0.5), precision="float32")
    language = create(section, FILMS, PROMPT, "catalog", seed=0)
    for name, parameter in language.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    with recipe_dropout(language, section):
        assert moved_by_dropout(language)
    with recipe_dropout(language, section, on=False):
        assert not moved_by_dropout(language)
    assert moved_by_dropout(language)


def test_how_to_ask_is_kept_beside_the_weights(tmp_path):
    said = json.loads((saved(tmp_path) / "napo.json").read_text())
    assert (said["name"], said["normalize"], said["max_history"], said["max_tokens"]) == ("tiny", "catalog", 5, 64)
    assert said["template"]["kind"] == "next"
    assert (said["tokens"], said["precision"]) == (361, "float32")


def test_a_ranker_of_a_model_that_can_not_share_prefixes_takes_one_title_after_the_other():
    language = tiny()
    expected = scores(language)
    language.shared = False
    ranker = language.ranker()
    assert not ranker.model.shared
    np.testing.assert_allclose(ranker.candidate_scores(HISTORIES, CANDIDATES), expected, rtol=0, atol=1e-5)
