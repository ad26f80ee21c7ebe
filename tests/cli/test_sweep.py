"""What `napo reproduce` says that there is, and what there is."""

import re

from napo.cli.sweep import QUICK, WHOSE
from tests.docs.commands import ROOT

SWEEPS = {path.stem for path in (ROOT / "sweeps").glob("*.yaml")}


def test_the_help_names_all_that_can_be_reproduced():
    named = re.findall(r"[a-z0-9-]+", WHOSE.replace(" (NAPO's with a pretrained model). NAPO by key or part", ""))
    assert {"napo", "smollm2", "napo-vocabulary"} <= SWEEPS
    assert sorted(set(named) - {"hose", "claims"}) == sorted(
        name
        for name in SWEEPS - {"settings"}
        if not name.endswith("-quick")  # settings: claims nothing
    )


def test_the_help_of_quick_names_those_that_are_short():
    named = re.findall(r"of (\w+)", QUICK)
    assert sorted(f"{name}-quick" for name in named) == sorted(name for name in SWEEPS if name.endswith("-quick"))
