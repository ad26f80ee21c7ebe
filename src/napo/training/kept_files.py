"""A recipe that outlives the place where it was written: whole paths, and copies of the files that a run has to keep.

Path    recipe -> [training.kept_files] -> recipe.yaml in a run's folder
Takes   Recipe, the run's folder
Gives   the same recipe with other places in it; files of the user's by their names in the folder
"""

from collections.abc import Mapping
from pathlib import Path

from napo.data.address import rooted as database_from
from napo.data.settings import DATA_FILES
from napo.evaluation.runs import RECIPE
from napo.files import write_aside
from napo.models.pretrained import KNOWN
from napo.recipe import Recipe
from napo.recipe_checks import is_path

KNOWN_ITEMS = "known-items.parquet"


def rooted(recipe: Recipe) -> Recipe:
    """The recipe with its paths whole: it will be read again, from the run's folder."""
    data, prompt, model, refresh = recipe.data, recipe.prompt, recipe.model, recipe.refresh
    files = {name: getattr(data, name) for name in DATA_FILES}
    data = data.model_copy(update={name: path.resolve() for name, path in files.items() if path is not None})
    if data.database is not None:
        data = data.model_copy(update={"database": database_from(data.database, Path())})
    if is_path(prompt.template):
        prompt = prompt.model_copy(update={"template": str(Path(prompt.template).expanduser().resolve())})
    if model.name not in KNOWN and (folder := Path(model.name).expanduser()).exists():
        model = model.model_copy(update={"name": str(folder.resolve())})
    if refresh is not None:  # a link such as runs/latest may soon lead elsewhere
        refresh = refresh.model_copy(update={"run": refresh.run.resolve()})
    recipe = recipe.model_copy(update={"data": data, "prompt": prompt, "model": model, "refresh": refresh})
    own = recipe.objective.file if recipe.objective is not None else None
    return _with_objective(recipe, None if own is None else own.expanduser().resolve())


def to_keep(recipe: Recipe) -> dict[str, Path]:
    """The user's objective, and the items that keep their numbers: a run has to outlive the files it was made from."""
    own = recipe.objective.file if recipe.objective is not None else None
    catalog = recipe.data.catalog if recipe.refresh is not None else None
    return {**({} if own is None else {own.name: own}), **({} if catalog is None else {KNOWN_ITEMS: catalog})}


def with_kept(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the files that a run keeps named in a folder."""
    own = recipe.objective.file if recipe.objective is not None else None
    if recipe.refresh is not None and recipe.data.catalog is not None:
        data = recipe.data.model_copy(update={"catalog": folder / KNOWN_ITEMS})
        recipe = recipe.model_copy(update={"data": data})
    return _with_objective(recipe, None if own is None else folder / own.name)


def write_recipe(recipe: Recipe, kept: Mapping[str, Path], out: Path) -> None:
    """Fill a run's folder with the recipe and the files that it keeps: they lie beside it, wherever the folder goes."""
    for name, file in kept.items():
        with write_aside(out / name) as aside:
            aside.write_bytes(file.read_bytes())
    with write_aside(out / RECIPE) as aside:
        aside.write_text(with_kept(recipe, Path()).resolved_yaml(), encoding="utf-8")


def _with_objective(recipe: Recipe, file: Path | None) -> Recipe:
    """The recipe with its objective's file at another place; None: it has no file."""
    if file is None or recipe.objective is None:
        return recipe
    return recipe.model_copy(update={"objective": recipe.objective.model_copy(update={"name": str(file)})})
