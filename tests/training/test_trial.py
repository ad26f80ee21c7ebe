"""The guide's own example passes; each way of being wrong is told with its line, before anything is trained."""

import pytest

from napo import plugins
from napo.errors import UserError
from napo.recipe import load_recipe
from napo.recipe_keys import Method
from napo.training.run import train_recipe
from napo.training.stages import objective_of
from napo.training.trial import EXAMPLES, try_out
from tests.tiny_world import Quiet
from tests.training.test_own_objective import example, write

LAST = "        return Loss(losses, preference_figures(scored, scored.policy))"


def tried(tmp_path, code, rejected=3):
    path = tmp_path / "hinge.py"
    path.write_text(code)
    try_out(objective_of(Method(name=str(path))), path, rejected)


@pytest.mark.parametrize("name", plugins.names("objectives"))
def test_every_shipped_objective_passes(name, tmp_path):
    try_out(objective_of(Method(name=name)), tmp_path / f"{name}.py", 3)


def test_the_guides_example_passes(tmp_path):
    tried(tmp_path, example())
    tried(tmp_path, example(), rejected=1)
    tried(tmp_path, example(), rejected=200)


@pytest.mark.parametrize(
    ("instead", "what"),
    [
        ("        return losses", "gave a Tensor, no Loss"),
        ("        return Loss(losses.mean(), {})", "one an example"),
        ("        return Loss(losses[:1], {})", r"`losses` is \(1,\) for 3 examples"),
        ("        return Loss(losses.detach(), {})", "no finite gradient"),
        ("        return Loss(losses / 0.0, {})", "`losses` holds"),
        ("        return Loss(scored.reference[:, 0], {})", "'NoneType' object is not subscriptable"),
    ],
)
def test_what_is_wrong_is_told_with_the_file(instead, what, tmp_path):
    assert LAST in example()
    with pytest.raises(UserError, match=what) as caught:
        tried(tmp_path, example().replace(LAST, instead))
    assert str(tmp_path / "hinge.py") in caught.value.where


def test_an_error_names_its_line(tmp_path):
    code = example().replace(LAST, "        return Loss(losses[:, :, 0], {})")
    line = code.splitlines().index("        return Loss(losses[:, :, 0], {})") + 1
    with pytest.raises(UserError, match="too many indices") as caught:
        tried(tmp_path, code)
    assert caught.value.where.endswith(f"hinge.py, line {line}")


def test_what_is_asked_for_is_there(tmp_path):
    code = example().replace("needs_reference = False", "needs_reference = True")
    code = code.replace("needs_auxiliary = False", "needs_auxiliary = True")
    body = "        assert scored.reference.shape == scored.policy.shape and scored.side.auxiliary.shape == (3, 3)\n"
    tried(tmp_path, code.replace(LAST, body + LAST))
    assert EXAMPLES == 3


def test_it_is_told_before_anything_is_trained(tmp_path):
    path = write(tmp_path, "mine", {"name": "./hinge.py"}, example().replace(LAST, "        return losses"))
    quiet = Quiet()
    with pytest.raises(UserError, match="no Loss"):
        train_recipe(load_recipe(path, methods=True), tmp_path / "runs" / "mine", progress=quiet)
    assert quiet.steps == []
    assert not (tmp_path / "runs").exists()
