"""What no single key shows to be wrong: keys that clash, files that are not there, methods and their settings.

Path    recipe_keys -> [recipe_checks] -> recipe
Takes   a Recipe, and the names of its sections that are wrong already: nothing that rests on them is said
Gives   Mistakes; from `method_mistakes` also the recipe with the methods' defaults written out
"""

import importlib
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from napo import plugins
from napo.data.settings import DATA_FILES
from napo.errors import UserError, nearest
from napo.recipe_keys import TINY_ONLY, Method, Recipe, Stage
from napo.recipe_mistakes import mistakes_of, remedy_for
from napo.recipe_reading import Mistake, Place

# the keys that name a method, and what their methods are called; the first three are folders of napo
METHODS = {
    "objective": "objectives",
    "negatives": "negatives",
    "rounds.label": "labels",
    "auxiliary": "auxiliary recommenders",
    "sft.temperature": "temperatures",
}
# methods whose modules are no folder of their own: name -> module and class of the settings
LISTED = {
    "auxiliary": {"sasrec": ("napo.training.auxiliary", "AuxiliarySettings")},
    "sft.temperature": {"adaptive": ("napo.scoring.temperature", "Settings")},
}


@dataclass(frozen=True)
class Clash:
    """Keys that don't go together; the message points at the first."""

    keys: tuple[str, ...]
    what: str
    remedy: str


def clash_mistakes(recipe: Recipe, wrong: Set[str] = frozenset()) -> list[Mistake]:
    return _said(clashes(recipe), recipe, wrong)


def _said(found: Iterable[Clash], recipe: Recipe, wrong: Set[str]) -> list[Mistake]:
    return [
        Mistake(clash.what, recipe.places.of(tuple(clash.keys[0].split("."))), clash.remedy)
        for clash in found
        if not wrong & {key.split(".")[0] for key in clash.keys}
    ]


def clashes(recipe: Recipe) -> Iterator[Clash]:
    yield from _data_clashes(recipe)
    yield from _model_clashes(recipe)
    yield from _stage_clashes(recipe)
    largest = max(recipe.evaluation.ks)
    if "cand20" in recipe.evaluation.protocols and largest > recipe.candidates.count:
        yield Clash(
            ("evaluation.ks", "candidates.count"),
            f"`evaluation.ks` asks for the first {largest} of {recipe.candidates.count} candidates",
            f"keep `evaluation.ks` at most {recipe.candidates.count}, or raise `candidates.count`",
        )


def _data_clashes(recipe: Recipe) -> Iterator[Clash]:
    rows, files = recipe.data.test is not None, recipe.split.name == "files"
    if rows and not files:
        what = f"`data.test` names rows, and rows are not cut by `split.name` {recipe.split.name}"
        yield Clash(("split.name", "data.test"), what, "`split: {name: files}`")
    if files and not rows:
        what = "`split.name` files is for rows, and `data` names none"
        yield Clash(("split.name", "data.test"), what, "name `data.train`, `data.valid` and `data.test`")
    if rows and recipe.split.min_rating is not None:
        what = "`split.min_rating` needs ratings, and rows of (history, next item) have none"
        yield Clash(("split.min_rating", "data.test"), what, "leave it out")
    if recipe.refresh is not None and recipe.data.catalog is None:
        what = "`refresh` goes on with the earlier run's items, and no `data.catalog` says what these are"
        yield Clash(
            ("refresh", "data.catalog"), what, "`data.catalog: RUN/model/catalog.parquet`, or napo train --from"
        )
    if "legacy" in recipe.evaluation.protocols and not rows:
        what = "`evaluation.protocols` legacy ranks the lists that `data.test` brings, and `data` names no rows"
        yield Clash(("evaluation.protocols", "data.test"), what, "leave `legacy` out")


def _model_clashes(recipe: Recipe) -> Iterator[Clash]:
    model = recipe.model
    if model.load_in is not None and model.lora is None:
        what = f"weights of `model.load_in` {model.load_in} are frozen, and there is no adapter to train"
        yield Clash(("model.load_in", "model.lora"), what, "`model.lora: {r: 8}`, or leave `load_in` out")
    if model.name != "tiny":
        for key in sorted(TINY_ONLY & model.model_fields_set):
            what = f"`model.{key}` is for the model `tiny`, not for {model.name}"
            yield Clash((f"model.{key}",), what, "leave it out")
        return
    if model.precision not in ("auto", "float32"):
        what = f"`model.precision` {model.precision} is not for `tiny`, whose weights are all trained"
        yield Clash(("model.precision",), what, "`auto`: bfloat16 arithmetic over float32 weights where a GPU has it")
    if model.width % (2 * model.heads):
        # rotary positions turn pairs of numbers: a head has an even width
        what = f"`model.width` {model.width} does not divide into {model.heads} heads of an even width"
        yield Clash(("model.width",), what, f"a multiple of {2 * model.heads}")


def _stage_clashes(recipe: Recipe) -> Iterator[Clash]:
    sft, preference = recipe.sft, recipe.preference
    if sft is None and recipe.objective is None and recipe.model.name == "tiny":
        what = "nothing to train: no `sft`, no `objective`, and `tiny` knows nothing from elsewhere"
        yield Clash(("sft", "objective"), what, "leave out `sft: null`")
    if recipe.objective is None:
        preference = None
    elif preference is None:
        remedy = "leave out `preference: null`, or the objective"
        yield Clash(("preference", "objective"), f"objective {recipe.objective.name} has no `preference` stage", remedy)
    if preference is not None and preference.positives == "kept_back" and sft is not None and not sft.keep_back:
        yield Clash(
            ("preference.positives", "sft.keep_back"),
            "`preference.positives` wants those kept back, but `sft.keep_back` is 0",
            "set `sft.keep_back`, such as 0.3",
        )
    yield from _round_clashes(recipe)
    template, other = recipe.prompt.template, "list" if recipe.prompt.kind == "next" else "next"
    if template == other:
        what = f"`prompt.template` {template} is not for `prompt.kind` {recipe.prompt.kind}"
        yield Clash(("prompt.template", "prompt.kind"), what, f"`template: {recipe.prompt.kind}`, or `kind: {other}`")
    if recipe.prompt.kind == "list" and "full" in recipe.evaluation.protocols:
        what = "`evaluation.protocols` full ranks the whole catalog, which no prompt of `prompt.kind` list can name"
        yield Clash(("evaluation.protocols", "prompt.kind"), what, "`protocols: [cand20]`, or `prompt.kind: next`")
    stages: dict[str, Stage | None] = {"sft": sft, "preference": preference}
    for name, stage in stages.items():
        if stage is not None and stage.form == "trajectory" and recipe.prompt.kind == "list":
            yield Clash(
                (f"{name}.form", "prompt.kind"),
                f"`{name}.form` trajectory has no room for the candidates of `prompt.kind` list",
                f"`{name}.form: prompt`, or `prompt.kind: next`",
            )


def _round_clashes(recipe: Recipe) -> Iterator[Clash]:
    rounds, preference = recipe.rounds, recipe.preference
    if rounds is None:
        return
    if recipe.objective is None:
        what = "`rounds` repeats the preference stage, and there is no `objective`"
        yield Clash(("rounds", "objective"), what, "name one, such as `objective: {name: dpo}`")
    if preference is not None:
        yield from _pair_clashes(preference, "rounds")


def _pair_clashes(preference: Stage, key: str) -> Iterator[Clash]:
    """What does not go with pairs that are made before the stage begins, once for each example."""
    for name, off in (("shift", "false"), ("leave_out", "0")):
        if getattr(preference, name):
            what = f"`{key}` rejects what was proposed for whole rows, and `preference.{name}` changes the rows"
            yield Clash((f"preference.{name}", key), what, f"`preference.{name}: {off}`")


def file_mistakes(recipe: Recipe, wrong: Set[str] = frozenset()) -> Iterator[Mistake]:
    """The files of the user's that are not there."""
    data, template = recipe.data, recipe.prompt.template
    named = [("data", name, getattr(data, name)) for name in DATA_FILES]
    named.append(("prompt", "template", Path(template) if is_path(template) else None))
    for section, key, path in named:
        if section not in wrong and path is not None and not (path.is_file() or (path / "manifest.json").is_file()):
            yield _no_file(recipe, (section, key), path)
    for section, key, name in _embedders(recipe):
        if section not in wrong and Path(name).is_absolute() and not Path(name).is_dir():
            place = recipe.places.of((section, key))
            yield Mistake(f"`{section}.{key}`: no folder {name}", place, "a folder, or a name on the hub")


def _embedders(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Embedders by name or folder. They are asked for after training: late to learn that one is not there."""
    for key in ("embedder", "ground"):
        if isinstance(name := recipe.negatives.settings.get(key), str) and recipe.objective is not None:
            yield "negatives", key, name
    if recipe.evaluation.nearest is not None:
        yield "evaluation", "nearest", recipe.evaluation.nearest


def _no_file(recipe: Recipe, key: tuple[str, str], path: Path) -> Mistake:
    there = [found.name for found in path.parent.glob("*") if found.is_file()]
    start = "`data.folder`, or else " if key[0] == "data" else ""
    remedy = ", ".join(nearest(path.name, there)) or f"paths in a recipe start from {start}the recipe's folder"
    return Mistake(f"`{'.'.join(key)}`: no file {path}", recipe.places.of(key), remedy)


def name_mistakes(recipe: Recipe, wrong: Set[str] = frozenset()) -> Iterator[Mistake]:
    """The methods and templates that nobody knows; nothing is imported."""
    for key, method in _methods(recipe, wrong):
        if _is_known(key, method.name):
            continue
        if key == "objective" and plugins.is_file(method.name):
            yield _no_file(recipe, ("objective", "name"), Path(method.name))
        else:
            remedy = remedy_for(method.name, method_names(key), METHODS[key])
            place = recipe.places.of((*key.split("."), "name"))
            yield Mistake(f"no {method.name!r} among {METHODS[key]}", place, remedy)
    template = recipe.prompt.template
    if "prompt" not in wrong and not is_path(template) and template not in template_names():
        place = recipe.places.of(("prompt", "template"))
        remedy = remedy_for(template, template_names(), "templates, or a path such as ./mine.txt")
        yield Mistake(f"no {template!r} among prompt templates", place, remedy)


def method_names(key: str) -> tuple[str, ...]:
    return tuple(LISTED[key]) if key in LISTED else plugins.names(METHODS[key])


def _is_known(key: str, name: str) -> bool:
    """Whether a method has that name; of an objective it may be a file that is there."""
    return name in method_names(key) or (key == "objective" and plugins.is_file(name) and Path(name).is_file())


def template_names() -> list[str]:
    return sorted(path.stem for path in (Path(__file__).parent / "prompts").glob("*.txt"))


def is_path(template: str) -> bool:
    """Whether a template is a file of the user's, not the name of one of ours."""
    return "/" in template or template.endswith(".txt")


def method_mistakes(
    recipe: Recipe, wrong: Set[str] = frozenset(), *, needs: bool = True
) -> tuple[Recipe, list[Mistake]]:
    """The methods' settings, held against their own Settings: imports the methods, and torch with them.

    needs: whether what a method needs has to be in the recipe.
    """
    mistakes: list[Mistake] = []
    whole = recipe
    for key, method in _methods(recipe, wrong):
        if not _is_known(key, method.name):
            continue
        try:
            module, settings_type = _settings_type(key, method.name)
            settings = settings_type.model_validate(method.settings)
        except ValidationError as error:
            of, prefix = f"{key} {method.name}", tuple(key.split("."))
            mistakes += mistakes_of(error, settings_type, recipe.places, prefix=prefix, of=of)
            continue
        except UserError as error:
            mistakes.append(_in_file(error))
            continue
        declared = {name: getattr(method, name) for name in type(method).model_fields}
        filled = type(method).model_validate({**declared, **settings.model_dump(mode="json")})
        whole = _with(whole, key.split("."), filled)
        try:
            if needs:
                mistakes += _said(_needs(recipe, key, module, settings), recipe, wrong)
        except UserError as error:
            mistakes.append(_in_file(error))
    return whole, mistakes


def _in_file(error: UserError) -> Mistake:
    """A mistake in the file of an objective: its place is there, not in the recipe."""
    return Mistake(error.what, Place(error.where, Path()) if error.where else None, error.remedy)


_Model = TypeVar("_Model", bound=BaseModel)


def _with(model: _Model, key: list[str], value: BaseModel) -> _Model:
    """The model with another value under a key, such as ["sft", "temperature"]."""
    inner = value if len(key) == 1 else _with(getattr(model, key[0]), key[1:], value)
    return model.model_copy(update={key[0]: inner})


def _methods(recipe: Recipe, wrong: Set[str]) -> Iterator[tuple[str, Method]]:
    for key in METHODS:
        section, *rest = key.split(".")
        found: Any = getattr(recipe, section)
        for name in rest:
            found = getattr(found, name, None)
        if found is not None and section not in wrong:
            yield key, found


def _settings_type(key: str, name: str) -> tuple[ModuleType, type[BaseModel]]:
    module_name, class_name = LISTED.get(key, {}).get(name, ("", "Settings"))
    module = importlib.import_module(module_name) if module_name else plugins.load(METHODS[key], name)
    found: type[BaseModel] = getattr(module, class_name)
    return module, found


def _needs(recipe: Recipe, key: str, module: ModuleType, settings: BaseModel) -> Iterator[Clash]:
    """What an objective or a sampler needs and the recipe does not have."""
    needs_reference, needs_auxiliary = False, False
    if key == "objective":
        assert recipe.objective is not None
        objective = plugins.objective(recipe.objective.name, settings)
        needs_reference, needs_auxiliary = objective.needs_reference, objective.needs_auxiliary
    elif key == "negatives" and recipe.objective is not None:
        needs_auxiliary = module.Sampler.needs_auxiliary
        if getattr(module.Sampler, "needs_exposures", False) and recipe.data.exposures is None:
            what = f"negatives `{recipe.negatives.name}` draws from what users were shown, and no file says it"
            yield Clash(
                ("negatives", "data.exposures"), what, "`data.exposures: FILE`, as `napo data from-events` writes it"
            )
        if getattr(module.Sampler, "needs_whole_catalog", False):
            yield from _proposing_clashes(recipe)
    elif key == "rounds.label":
        needs_auxiliary = module.Labeller.needs_auxiliary
    if needs_auxiliary and recipe.auxiliary is None:
        what = f"`{key}` needs an auxiliary recommender, but `auxiliary` is null"
        yield Clash(("auxiliary", key), what, "write `auxiliary: {name: sasrec}`")
    if needs_reference and recipe.preference is not None and recipe.preference.dropout:
        what = "`preference.dropout` is on, but the objective has a reference: rewards would not start at 0"
        yield Clash(("preference.dropout", key), what, "`dropout: false`, or `objective.reference: false`")


def _proposing_clashes(recipe: Recipe) -> Iterator[Clash]:
    """Of samplers that ask the model in training for titles."""
    name = f"negatives {recipe.negatives.name}"
    if recipe.prompt.kind == "list":
        what = f"{name} come from the whole catalog, and a prompt of `prompt.kind` list names candidates"
        yield Clash(("negatives", "prompt.kind"), what, "`prompt: {kind: next, template: next}`")
    if recipe.rounds is None and recipe.preference is not None:
        yield from _pair_clashes(recipe.preference, "negatives")
