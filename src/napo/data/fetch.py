"""Public data sets, brought once into a cache folder and checked against known checksums.

Path    package index or the user's own copy -> [data.fetch] -> readers
Takes   a data set's name, and where the machine is offline a folder that has its files
Gives   Fetched: the folder and the terms of use; nothing half-written stays

MovieLens-100K comes inside a RecBole release, so pip brings it with whatever index and proxy pip is set up for.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napo.data.formats.movielens import GENRES
from napo.errors import UserError, did_you_mean
from napo.files import folder_aside

Download = Callable[[str, Path], None]

_TERMS_ML100K = """\
MovieLens 100K is research data of GroupLens, University of Minnesota. Its terms, in short:
  no endorsement by the university or the GroupLens group may be stated or implied;
  a publication that uses the data acknowledges it, citing F. Maxwell Harper and Joseph A. Konstan. 2015. The
  MovieLens Datasets: History and Context. ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19;
  the data may not be redistributed without separate permission;
  it is for research use: no commercial or revenue-bearing use without permission of a GroupLens faculty member.
It comes without any warranty."""


@dataclass(frozen=True)
class DataSet:
    """Where a data set lies inside a published package: file name in the cache -> (path inside, SHA-256)."""

    package: str
    files: dict[str, tuple[str, str]]
    terms: str


@dataclass(frozen=True)
class Fetched:
    """folder: where the files are; terms: what to print; new: False where they were there already."""

    folder: Path
    terms: str
    new: bool


KNOWN = {
    "ml-100k": DataSet(
        package="recbole==1.2.1",
        files={
            "ml-100k.inter": (
                "recbole/dataset_example/ml-100k/ml-100k.inter",
                "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            ),
            "ml-100k.item": (
                "recbole/dataset_example/ml-100k/ml-100k.item",
                "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            ),
        },
        terms=_TERMS_ML100K,
    )
}


def cache_folder() -> Path:
    """$NAPO_CACHE, else `napo` in the user's cache folder."""
    if own := os.environ.get("NAPO_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "napo"


def cached(name: str) -> tuple[Path, Path]:
    """The interactions and items files of a data set. Raises UserError where it has not been fetched."""
    files = _known(name).files
    folder = cache_folder() / name
    if not all((folder / file).is_file() for file in files):
        raise UserError(f"the data set {name} is not here yet", where=str(folder), remedy=f"napo data fetch {name}")
    interactions, items = (folder / file for file in files)
    return interactions, items


def fetch(name: str, from_folder: Path | None = None, *, download: Download | None = None) -> Fetched:
    """Bring a data set into the cache, once. from_folder: a folder with the user's own copy, instead of pip.

    The copy may be RecBole's two files, or GroupLens' own `u.data` and `u.item`.
    """
    known = _known(name)
    target = cache_folder() / name
    if from_folder is None and all(
        (target / file).is_file() and _matches(target / file, digest) for file, (_, digest) in known.files.items()
    ):
        return Fetched(target, known.terms, new=False)
    with folder_aside(target) as aside:
        if from_folder is not None:
            _copy_own(known, from_folder, aside)
        else:
            _unpack_package(name, known, aside, download or pip_download)
    return Fetched(target, known.terms, new=True)


def pip_download(package: str, folder: Path) -> None:
    """Let pip bring one wheel, without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(folder), package],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")]
        raise UserError(f"pip could not bring {package}: {(errors or said or ['it gave no reason'])[-1]}")


def _unpack_package(name: str, known: DataSet, aside: Path, download: Download) -> None:
    own_copy = f"check the connection, or give a folder with your own copy: napo data fetch {name} --from FOLDER"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            download(known.package, Path(scratch))
        except UserError as error:
            raise UserError(error.what, where=f"napo data fetch {name}", remedy=own_copy) from error
        wheels = sorted(Path(scratch).glob("*.whl"))
        if not wheels:
            raise UserError(f"pip brought no wheel of {known.package}", remedy=own_copy)
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                for file, (inside, _) in known.files.items():
                    (aside / file).write_bytes(wheel.read(inside))
        except (zipfile.BadZipFile, KeyError) as error:
            raise UserError(f"{wheels[0].name} does not hold the data set: {error}", remedy=own_copy) from error
    for file, (_, digest) in known.files.items():
        _check(aside / file, digest, where=f"{file} of {known.package}")


def _copy_own(known: DataSet, folder: Path, aside: Path) -> None:
    for place in (folder, *(folder / file.split(".")[0] for file in known.files)):
        if all((place / file).is_file() for file in known.files):
            for file, (_, digest) in known.files.items():
                (aside / file).write_bytes((place / file).read_bytes())
                _check(aside / file, digest, where=str(place / file))
            return
        if (place / "u.data").is_file() and (place / "u.item").is_file():
            _from_grouplens(place, aside)
            _, digest = known.files["ml-100k.inter"]
            _check(aside / "ml-100k.inter", digest, where=str(place / "u.data"))
            return
    raise UserError(
        f"no copy of the data set is in {folder}",
        where=str(folder),
        remedy=f"the folder must hold {' and '.join(known.files)}, or u.data and u.item",
    )


def _from_grouplens(folder: Path, aside: Path) -> None:
    """GroupLens' own files, in RecBole's form. There the year already is in the title."""
    header = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (aside / "ml-100k.inter").write_bytes(header + (folder / "u.data").read_bytes().replace(b"\r\n", b"\n"))
    lines = ["item_id:token\tmovie_title:token_seq\tclass:token_seq"]
    for number, line in enumerate((folder / "u.item").read_text(encoding="latin-1").splitlines(), start=1):
        fields = line.split("|")
        if len(fields) != 5 + len(GENRES):
            raise UserError(f"{len(fields)} fields, not {5 + len(GENRES)}", where=f"{folder / 'u.item'}, line {number}")
        genres = " ".join(genre for genre, flag in zip(GENRES, fields[5:], strict=True) if flag == "1")
        lines.append(f"{fields[0]}\t{fields[1]}\t{genres}")
    (aside / "ml-100k.item").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _check(path: Path, digest: str, where: str) -> None:
    if not _matches(path, digest):
        raise UserError(
            f"the file is not the known one: its SHA-256 does not begin with {digest[:12]}",
            where=where,
            remedy="fetch it again, or use an unchanged copy",
        )


def _matches(path: Path, digest: str) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _known(name: str) -> DataSet:
    if name not in KNOWN:
        raise UserError(f"no data set {name!r}", remedy=did_you_mean(name, KNOWN))
    return KNOWN[name]
