"""A recipe from start to end: data, auxiliary model, supervised stage, preference stage, delivered model.

Path    recipe -> data, models, training -> [training.run] -> a run folder
Takes   Recipe, a folder
Gives   Run: what each stage came to, and the model that is delivered

Stages that runs may share (the auxiliary model, the supervised start) lie beside the run folders under `stages/`, named
by a hash of all that made them, so every method starts from the very same weights.
"""

import json
import logging
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napo.arrays import BoolArray
from napo.data.histories import Histories
from napo.data.prepare import Prepared, key_of, prepare
from napo.errors import UserError
from napo.evaluation.runs import MODEL, RECIPE
from napo.files import folder_aside, write_aside
from napo.models.language import LanguageModel, create, recipe_dropout
from napo.models.pretrained import weights_digest
from napo.models.sasrec import SASRec
from napo.models.tokens import tokenizer_digest
from napo.plugins import file_digest
from napo.recipe import Recipe, check_methods, differences, load_recipe
from napo.training.auxiliary import AuxiliarySettings, TrainedSASRec, train_sasrec
from napo.training.callbacks import Watch
from napo.training.kept_files import rooted, to_keep, with_kept, write_recipe
from napo.training.oracle import folds_of
from napo.training.processes import alone_in, device, is_main, join_ranks, main_first, meet
from napo.training.refresh import going_on, reference_of, with_news
from napo.training.rounds import Rounds, told
from napo.training.stage import Outcome, run_stage
from napo.training.stages import (
    check_rows,
    fallen_back,
    objective_of,
    overlap,
    preference_inputs,
    refreshed,
    supervised_inputs,
)
from napo.training.trial import try_out

log = logging.getLogger(__name__)

RUN = "run.json"


class Progress(Protocol):
    """Whoever draws the bars. stage() is called as each begins, the function it gives at every step."""

    def stage(self, name: str) -> Callable[[int, int, dict[str, float]], None]: ...
    def say(self, text: str) -> None: ...


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run. outcomes: by stage, in order. language: the delivered model, in evaluation mode."""

    folder: Path
    recipe: Recipe
    prepared: Prepared
    outcomes: dict[str, Outcome]
    language: LanguageModel
    auxiliary: SASRec | None
    stages: dict[str, Path]  # where each stage's metrics and best weights lie
    auxiliary_seconds: float = 0.0  # what fitting it took, in this run or in one that shares it


def train_recipe(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress,
    need_auxiliary: bool = False,
    shared: Path | None = None,
    watch: Watch | None = None,
) -> Run:
    """Run a recipe into `out`. With resume: go on where an earlier call was broken off, to the same result.

    need_auxiliary: train the auxiliary recommender, where the recipe has one, even if no stage asks for it.
    shared: where the stages lie that runs share; None: in `stages/` beside `out`.
    watch: called at each look at validation of the recipe's last stage; what it raises breaks the run off.
    Raises UserError where `out` holds another run, or one to be resumed with another recipe.
    """
    recipe = rooted(check_methods(recipe))
    join_ranks()
    progress = progress if is_main() else _Silent()
    kept = to_keep(recipe)
    recipe = with_kept(recipe, out.resolve())
    bench, language = _begin(recipe, kept, out, resume, progress, shared or out.parent / "stages")
    bench.watch = watch
    prepared, outcomes = bench.prepared, dict[str, Outcome]()
    if need_auxiliary and recipe.auxiliary is not None:
        bench.auxiliary()
    if recipe.sft is not None:
        outcomes["sft"] = bench.supervised(language)
    if recipe.objective is not None:
        outcomes["preference"] = bench.preference(language, out / "preference")
    if is_main():
        with folder_aside(out / MODEL) as aside:
            language.save(aside)
            Histories.of(prepared.split).save(aside)  # so that the model can recommend by user key
    meet()
    made = (bench.auxiliary_if_made, bench.stages, bench.auxiliary_seconds)
    return Run(out, recipe, prepared, outcomes, language, *made)


class Workbench:
    """Runs the stages of one recipe; those that other runs share lie under `shared`."""

    def __init__(self, recipe: Recipe, prepared: Prepared, shared: Path, progress: Progress) -> None:
        self.recipe, self.prepared, self.shared, self.progress = recipe, prepared, shared, progress
        self.auxiliary_if_made: SASRec | None = None
        self.stages: dict[str, Path] = {}
        self.auxiliary_seconds = 0.0
        self.watch: Watch | None = None  # who is shown the looks of the last stage

    def start(self) -> LanguageModel:
        """The model before any training. Raises UserError for what would stop a stage later."""
        recipe, catalog = self.recipe, self.prepared.log.catalog
        if recipe.refresh is not None:
            language = going_on(recipe, catalog)
        else:
            language = create(recipe.model, catalog, recipe.prompt, recipe.normalize, recipe.seed)
        language.policy.to(device())
        check_rows(recipe, self.prepared, language)
        return language

    def auxiliary(self, folds: int = 1, fold: int = 0) -> SASRec:
        """The auxiliary recommender, trained or taken from an earlier run with the same data and settings.

        folds: where more than one, it has trained on the users of the other folds alone (training.oracle).
        """
        recipe = self.recipe
        if recipe.auxiliary is None:
            raise UserError("this recipe needs an auxiliary recommender", where="auxiliary", remedy="`name: sasrec`")
        if folds == 1 and self.auxiliary_if_made is not None:
            return self.auxiliary_if_made
        settings = AuxiliarySettings(**recipe.auxiliary.settings)
        name, users, made_by = "SASRec", None, settings.model_dump()
        if folds > 1:
            name, made_by = f"SASRec, fold {fold + 1} of {folds}", {**made_by, "fold": [fold, folds]}
            users = folds_of(self.prepared.split, folds, recipe.seed) != fold
        folder = self._stage("auxiliary", made_by)
        with alone_in(folder, lambda: self.progress.say(f"{name}: another run trains it; waiting for it to end")):
            if is_main() and not (folder / "model" / "config.json").is_file():
                trained = self._train_auxiliary(settings, folder, name, users)
                trained.model.save(folder / "model")
                with write_aside(folder / "outcome.json") as aside:
                    aside.write_text(json.dumps({"best": asdict(trained.best), "seconds": trained.seconds}))
            meet()
        self.auxiliary_seconds += json.loads((folder / "outcome.json").read_text(encoding="utf-8"))["seconds"]
        model = SASRec.load(folder / "model", device())
        if folds == 1:
            self.auxiliary_if_made = model
        return model

    def _train_auxiliary(
        self, settings: AuxiliarySettings, folder: Path, name: str, users: BoolArray | None
    ) -> TrainedSASRec:
        """users: whose events it is trained on, and validated on; None: everyone's."""
        prepared = self.prepared
        cases, lists = prepared.valid, prepared.valid_lists
        if users is not None:
            judged = np.flatnonzero(users[cases.user])
            cases, lists = cases.take(judged), lists.take(judged)
        return train_sasrec(
            prepared.split,
            settings,
            self.recipe.seed,
            cases=cases,
            lists=lists,
            progress=self.progress.stage(name),
            resume_folder=folder / "state",
            device=device(),
            users=users,
        )

    def supervised(self, language: LanguageModel) -> Outcome:
        """The supervised stage; its weights go into `language`."""
        recipe = self.recipe
        assert recipe.sft is not None
        # not the names of files and models alone: what is in them counts
        made_by = {
            "normalize": recipe.normalize,
            "prompt": recipe.prompt.model_dump(mode="json", exclude={"template"}),
            "template": language.wording,
            "tokenizer": tokenizer_digest(language.tokenizer),
            "weights": weights_digest(language.model),
            "dropout": recipe.model.dropout.model_dump(),
            "sft": recipe.sft.model_dump(mode="json", exclude={"save_every"}),
            **refreshed(recipe, self.prepared),
        }
        folder = self._stage("sft", made_by)
        self.stages["sft"] = folder
        inputs = supervised_inputs(recipe, self.prepared, language)
        with recipe_dropout(language, recipe.model):
            watch = self.watch if recipe.objective is None else None
            outcome = run_stage(inputs, folder, self.progress.stage("SFT"), self.progress.say, watch)
        self.progress.say(outcome.verdict)
        return outcome

    def preference(self, language: LanguageModel, folder: Path) -> Outcome:
        """The preference stage, from the weights in `language`; the best go back into it."""
        recipe = self.recipe
        assert recipe.preference is not None
        self.stages["preference"] = folder
        if recipe.rounds is not None:
            outcome = Rounds(recipe, self.prepared, language, self.auxiliary, folder, self.progress, self.watch).run()
            self.progress.say(outcome.verdict)
            return outcome
        inputs = preference_inputs(
            recipe,
            self.prepared,
            language,
            self.auxiliary,
            kept=folder,
            told=told(self.progress, "proposals"),
        )
        start = reference_of(recipe, self.prepared.log.catalog, folder)
        inputs = replace(inputs, references=self.shared, reference_from=start)
        fallen = fallen_back(recipe, self.prepared, inputs.batches.settings.drawing.sampler)
        if fallen is not None and is_main():
            self._say_fallen_back(fallen, folder)
        with recipe_dropout(language, recipe.model, on=recipe.preference.dropout):
            outcome = run_stage(inputs, folder, self.progress.stage(inputs.name), self.progress.say, self.watch)
        self.progress.say(outcome.verdict)
        return outcome

    def _say_fallen_back(self, fallen: dict[str, int], folder: Path) -> None:
        """What a sampler had too few of its own kind for: said, and kept beside the stage's metrics."""
        number, wanted = fallen["rejected_fallen_back"], fallen["rejected"]
        self.progress.say(
            f"negatives {self.recipe.negatives.name}: {number:,} of {wanted:,} rejected items an epoch are drawn"
            " uniformly, as their users have too few of that kind"
        )
        with write_aside(folder / "negatives.json") as aside:
            aside.write_text(json.dumps(fallen), encoding="utf-8")

    def _stage(self, name: str, made_by: Any) -> Path:
        key = key_of([self.prepared.key, self.recipe.seed, made_by])
        return self.shared / f"{name}-{key}"


def _begin(
    recipe: Recipe, kept: Mapping[str, Path], out: Path, resume: bool, progress: Progress, shared: Path
) -> tuple[Workbench, LanguageModel]:
    """All that comes before training. A mistake that shows here leaves no folder: a mended recipe can have its name.

    kept: files of which a copy stays in the run's folder, by its name there; the copy is what trains.
    """
    own = kept.get(recipe.objective.file.name) if recipe.objective is not None and recipe.objective.file else None
    new = False
    try:
        with main_first():
            if is_main() and (new := _is_new(recipe, kept, out, resume)):
                write_recipe(recipe, kept, out)
            prepared = with_news(recipe, prepare(recipe, out))
            found = overlap(recipe, prepared)
            if is_main():
                _write_run(recipe, own, prepared, found, out)
        for line in (f"{name}: {count:,}" for name, count in prepared.split.counts.items()):
            log.info(line)
        bench = Workbench(recipe, prepared, shared, progress)
        if own is not None and recipe.objective is not None:
            try_out(objective_of(recipe.objective), own, recipe.negatives.count)
        language = bench.start()
    except UserError:
        if new:
            _give_back(out, kept)
        raise
    if found["sft_targets"]:
        progress.say(
            f"{found['sft_targets']:,} of {found['preference_positives']:,} preference positives are SFT targets;"
            " where that lowers accuracy, keep some back with `sft.keep_back=0.3 preference.positives=kept_back`"
        )
    return bench, language


def _give_back(out: Path, kept: Mapping[str, Path]) -> None:
    for path in (out / RECIPE, out / RUN, *(out / name for name in kept), *out.glob("candidates-*.npz")):
        with suppress(OSError):  # was not written yet
            path.unlink()
    for folder in (out, out.parent):
        with suppress(OSError):  # holds something else
            folder.rmdir()


def _is_new(recipe: Recipe, kept: Mapping[str, Path], out: Path, resume: bool) -> bool:
    """Whether a run begins here; False: it is gone on with. Raises UserError where neither is possible."""
    path = out / RECIPE
    if path.is_file():
        if not resume:
            raise UserError(f"{out} holds a run already", remedy="--resume to go on with it, or --out another folder")
        for name, file in kept.items():
            if (copy := out / name).is_file() and file_digest(copy) != file_digest(file):
                raise UserError(
                    f"the run was begun with another {file.name}: its copy is not what the recipe names now",
                    where=str(copy),
                    remedy="--out another folder, or put the file back as it was",
                )
        if changed := differences(check_methods(load_recipe(path, files=False)), recipe):
            raise UserError(
                f"the run was begun with another recipe: {', '.join(changed)} differ",
                where=str(path),
                remedy="resume with the recipe of the run folder, or --out another folder",
            )
        return False
    if out.is_file():
        raise UserError(f"{out} is a file", remedy="--out another folder")
    if out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise UserError(f"{out} is not empty and holds no run", remedy="--out another folder")
    return True


class _Silent:
    """Progress of the ranks that do not speak."""

    def stage(self, name: str) -> Callable[[int, int, dict[str, float]], None]:
        return lambda done, total, figures: None

    def say(self, text: str) -> None: ...


def _write_run(recipe: Recipe, own: Path | None, prepared: Prepared, shared: dict[str, int], out: Path) -> None:
    packages = ("napo", "torch", "transformers", "peft", "accelerate", "polars", "numpy")
    said = {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": platform.machine(),
        "seed": recipe.seed,
        "data": prepared.log.digest,
        "split": prepared.split.digest,
        "lists": {"valid": prepared.all_valid_lists.digest, "test": prepared.test_lists.digest},
        "read": prepared.log.counts,
        "counts": prepared.split.counts,
        "notes": [*prepared.split.notes, *prepared.log.notes],
        "overlap": shared,
        **({} if prepared.news is None else {"refresh": prepared.news.counts()}),
        "objective_file": None if own is None else {"name": own.name, "sha256": file_digest(out / own.name)},
    }
    with write_aside(out / RUN) as aside:
        aside.write_text(json.dumps(said, indent=2, ensure_ascii=False), encoding="utf-8")
