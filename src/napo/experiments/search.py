"""Hyper-parameter search: every method gets the same number of trials, judged on validation alone.

Path    experiments.search_file -> training.run -> [experiments.search] -> search.json, METHOD.best.yaml
Takes   a search file and a folder
Gives   SearchResult: every trial with its settings and its figure, and each method's best recipe

Optuna's TPE sampler draws, and its median pruner stops a trial early. Not Hyperband: it shares a budget of dozens of
trials among brackets, and its first rungs compare rates before the schedule has lowered them.
Trials lie in OUT/METHOD/trials.journal, Optuna's own, a line of JSON for each event: half a line is all that a kill can
leave behind. Who writes it holds the folder by a lock of the kernel's, which goes with its process; Optuna's locks are
files that stay. (SQLite would do as well, at ten times the time.) A trial that was killed goes on under its number.
"""

import itertools
import json
import os
import shutil
import sys
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerState

from napo.data.prepare import prepare
from napo.errors import UserError, UserErrors
from napo.evaluation.runs import MODEL
from napo.experiments.plan import checksum, contents_of
from napo.experiments.processes import side_by_side
from napo.experiments.search_file import Choice, Method, Search, Space, load_search
from napo.experiments.search_result import MethodResult, SearchResult, State, Tried, in_words, write_result
from napo.files import WriteFailed, cannot_write
from napo.rng import seed_for
from napo.training.callbacks import BEST, validations
from napo.training.compare import check_alike, row_names
from napo.training.processes import alone_in
from napo.training.run import Progress, Run, Workbench, train_recipe
from napo.training.stage import OUTCOME

if TYPE_CHECKING:
    import optuna

STORE = "trials.journal"
DRAWN_BLINDLY = 4  # trials before the sampler learns from them, the recipe as written among them
DRAWN_AGAIN = 10  # times, where all that the sampler wants was tried before
WHOLE_BEFORE_PRUNING = 3  # trials that have to have ended before one is held against their median
VALUES, REASON, MADE_BY = "values", "reason", "made by"


def run_search(file: Path, out: Path, *, jobs: int = 1, progress: Progress) -> SearchResult:
    """Search as `file` says into `out`, or go on where an earlier call was broken off, to the same result.

    jobs: how many methods are searched at once. The trials of one come one after the other, since each is drawn from
    those before it; so the trials are the same however many jobs there are.
    Raises UserError for mistakes in the file, in its recipes and their data, and where `out` holds another search.
    """
    search = load_search(file)
    _require_optuna()
    recipes = {method.path: method.recipe for method in search.methods}
    check_alike(recipes)
    _check_beginning(search, out, progress)
    rows = row_names(recipes)
    common = {"out": out, "trials": search.trials, "seed": search.seed}
    calls = [{"method": method, "row": rows[method.path], **common} for method in search.methods]
    found = side_by_side(search_recipe, calls, jobs, progress)
    result = SearchResult(str(file), search.trials, search.seed, tuple(found))
    write_result(result, {method.name: method for method in search.methods}, out)
    return result


def search_recipe(
    method: Method, out: Path, *, trials: int, seed: int = 0, row: str | None = None, progress: Progress
) -> MethodResult:
    """One method's trials, in `out`/NAME/trial-N; the stages that trials share, of all methods, in `out`/stages.

    The first trial is the recipe as written. Trial N is drawn from (seed, name, N) and the trials before it, so that
    the same search gives the same trials, broken off or not. A failed trial counts, and so does one that was pruned.
    Raises UserError where the folder holds another search, or nothing can be written to it.
    """
    _require_optuna()
    folder = out / method.name
    with _alone(folder, progress):
        study = _study(method, folder, seed, trials)
        while (done := len(_finished(study))) < trials:
            trial = _next_trial(study, method, seed)
            values = trial.user_attrs[VALUES]
            progress.say(f"{method.name}, trial {done} of {trials}: {in_words(values) if done else 'as written'}")
            _run_trial(study, trial, method, out, progress)
            _drop_weights(study, folder, out / "stages")
        tried = tuple(_tried(trial) for trial in _finished(study))
    return MethodResult(method.name, row or method.name, {key: str(of) for key, of in method.space.items()}, tried)


def _check_beginning(search: Search, out: Path, progress: Progress) -> None:
    """Raise UserError for what would stop a method later: nothing is written yet, and no hour spent."""
    begun = [method for method in search.methods if (out / method.name / STORE).is_file()]
    for method in begun:
        with _alone(out / method.name, progress):
            _study(method, out / method.name, search.seed, search.trials)
    ours = {"stages", *(method.name for method in search.methods)}
    if out.is_file() or (not begun and out.is_dir() and {path.name for path in out.iterdir()} - ours):
        raise UserError(f"{out} is not empty and holds no search", remedy="--out another folder")
    if len(begun) < len(search.methods):
        prepared = prepare(search.methods[0].recipe)  # the others are on the same data
        for method in search.methods:
            Workbench(method.recipe, prepared, out / "stages", progress).start()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error


def _alone(folder: Path, progress: Progress) -> AbstractContextManager[None]:
    return alone_in(folder, lambda: progress.say(f"{folder}: another search runs here; waiting for it to end"))


def _require_optuna() -> None:
    try:
        import optuna
    except ImportError as error:
        raise UserError("a search needs Optuna, which is not installed", remedy="pip install 'napo[search]'") from error
    optuna.logging.disable_default_handler()  # whoever calls says what is logged
    optuna.logging.enable_propagation()


def _study(method: Method, folder: Path, seed: int, trials: int) -> "optuna.Study":
    """The method's trials so far. Raises UserError where they were made with other settings, or are too many."""
    import optuna

    study = optuna.create_study(
        storage=_storage(folder / STORE),
        study_name=method.name,
        direction="maximize",
        load_if_exists=True,
        # nothing is said at the start, which many trials have in common
        pruner=optuna.pruners.MedianPruner(WHOLE_BEFORE_PRUNING, n_warmup_steps=1, n_min_trials=WHOLE_BEFORE_PRUNING),
    )
    file = None if method.recipe.objective is None else method.recipe.objective.file
    files = contents_of(method.recipe) | ({} if file is None else {str(file): checksum(file)})
    made_by = {
        "seed": seed,
        **{f"recipe.{name}": section for name, section in method.recipe.resolved().items()},
        **{f"space.{key}": str(space) for key, space in method.space.items()},
        **{f"what {name} holds": held for name, held in files.items()},
    }
    before = study.user_attrs.get(MADE_BY)
    if before is None:
        study.set_user_attr(MADE_BY, made_by)
    elif before != made_by:
        changed = [key for key in {**before, **made_by} if before.get(key) != made_by.get(key)]
        raise UserError(
            f"the search of {method.name} was begun with other settings: {', '.join(changed)} differ",
            where=str(folder),
            remedy="go on with the settings that it was begun with, or --out another folder",
        )
    if len(_finished(study)) > trials:
        raise UserError(
            f"{method.name} has had {len(_finished(study))} trials already, and the budget is {trials}",
            where=str(folder),
            remedy="as many trials or more, or --out another folder",
        )
    return study


def _storage(path: Path) -> "optuna.storages.BaseStorage":
    """The journal at `path`, of a folder that is held; a line that was cut short is taken away."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    class Held(JournalFileOpenLock):
        def acquire(self) -> bool:
            return True

        def release(self) -> None: ...

    if path.is_file():
        text = path.read_bytes()
        if (whole := text.rfind(b"\n") + 1) < len(text):
            os.truncate(path, whole)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=Held(str(path))))


def _finished(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _next_trial(study: "optuna.Study", method: Method, seed: int) -> "optuna.Trial":
    """The trial that was broken off, or a new one. Its settings lie in the store before it begins."""
    import optuna

    States = optuna.trial.TrialState  # noqa: N806
    if broken := study.get_trials(deepcopy=False, states=(States.RUNNING,)):
        trial = optuna.Trial(study, broken[0]._trial_id)
    else:
        if not study.get_trials(deepcopy=False, states=(States.WAITING,)):
            values = _drawn(study, method, seed)
            study.enqueue_trial(method.stored(values), user_attrs={VALUES: values})
        trial = study.ask()
    # what the recipe itself says may lie outside its space; then the sampler learns nothing from it
    for key in method.stored(trial.user_attrs[VALUES]):
        _suggest(trial, key, method.space[key])
    return trial


def _drawn(study: "optuna.Study", method: Method, seed: int) -> dict[str, Any]:
    """The values of the next trial, none that were tried before, from the finished trials and a seed of their own."""
    import optuna

    finished = _finished(study)
    if not finished:
        return method.written()
    tried = [method.stored(trial.user_attrs[VALUES]) for trial in finished]
    for attempt in itertools.count():
        sampler = optuna.samplers.TPESampler(
            # where few are left it would draw the good ones again and again
            n_startup_trials=DRAWN_BLINDLY if attempt < DRAWN_AGAIN else sys.maxsize,
            seed=seed_for(seed, "search", method.name, len(finished), attempt) % 2**32,
        )
        # in a study beside the stored one: there the draw is written down whole, or not at all
        beside = optuna.create_study(direction="maximize", sampler=sampler)
        beside.add_trials(finished)
        trial = beside.ask()
        values = {key: space.decoded(_suggest(trial, key, space)) for key, space in method.space.items()}
        if method.stored(values) not in tried:
            return values
    raise AssertionError("load_search has seen to it that enough settings are left")


def _suggest(trial: "optuna.Trial", key: str, space: Space) -> Any:
    if isinstance(space, Choice):
        return trial.suggest_categorical(key, space.texts)
    if space.kind == "int":
        return trial.suggest_int(key, int(space.low), int(space.high))
    return trial.suggest_float(key, space.low, space.high, log=space.kind == "log")


def _run_trial(study: "optuna.Study", trial: "optuna.Trial", method: Method, out: Path, progress: Progress) -> None:
    """Train and tell the store what came of it. What is no fault of the settings goes up, and the trial stays open."""
    import optuna

    States = optuna.trial.TrialState  # noqa: N806
    looks = _Looks(trial)
    try:
        recipe = method.recipe if trial.number == 0 else method.with_values(trial.user_attrs[VALUES])
        folder = out / method.name / f"trial-{trial.number}"
        run = train_recipe(recipe, folder, resume=True, progress=progress, shared=out / "stages", watch=looks)
    except optuna.TrialPruned:
        study.tell(trial, state=States.PRUNED)
    except WriteFailed:
        raise
    except (UserError, MemoryError, torch.OutOfMemoryError) as error:
        trial.set_user_attr(REASON, _reason(error))
        study.tell(trial, state=States.FAIL)
    else:
        looks(_looks_of(run), True)
        study.tell(trial, list(run.outcomes.values())[-1].best["ndcg"])


class _Looks:
    """Reports each look at validation once, and breaks off a trial that lies below the median of those before it."""

    def __init__(self, trial: "optuna.Trial") -> None:
        self.trial = trial
        self.reported = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def __call__(self, looks: list[dict[str, float]], last: bool) -> None:
        import optuna

        # by their number, not by their step: a step is less of an epoch where the batch is smaller
        for number, look in enumerate(looks):
            if number not in self.reported:
                self.trial.report(look["ndcg"], number)
                self.reported.add(number)
        if not last and self.trial.should_prune():  # after the last look there is nothing left to save
            raise optuna.TrialPruned


def _looks_of(run: Run) -> list[dict[str, float]]:
    """Of the run's last stage: one that another trial had trained already was not watched."""
    path = list(run.stages.values())[-1] / "metrics.jsonl"
    return validations(TrainerState(log_history=[json.loads(line) for line in path.read_text().splitlines()]))


def _reason(error: BaseException) -> str:
    if isinstance(error, UserError):
        return "; ".join(one.what for one in (error.errors if isinstance(error, UserErrors) else [error]))
    return "out of memory"


def _tried(trial: "optuna.trial.FrozenTrial") -> Tried:
    states: dict[str, State] = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
    return Tried(
        trial.number,
        states[trial.state.name],
        trial.user_attrs[VALUES],
        # Optuna takes a pruned trial's last look for its value
        trial.value if trial.state.name == "COMPLETE" else None,
        tuple(trial.intermediate_values[look] for look in sorted(trial.intermediate_values)),
        trial.user_attrs.get(REASON),
    )


def _drop_weights(study: "optuna.Study", folder: Path, stages: Path) -> None:
    """Keep the model of the best trial so far. Recipes, metrics and outcomes stay of all, so any can be made again."""
    with suppress(ValueError):  # none has ended well yet
        best = study.best_trial.number
        for trial in _finished(study):
            if trial.number != best:
                for name in (MODEL, f"preference/{BEST}"):
                    shutil.rmtree(folder / f"trial-{trial.number}" / name, ignore_errors=True)
    stopped = [folder / f"trial-{trial.number}" / "preference" for trial in _finished(study)]
    # a shared stage that has ended is read by others, but for what it would have gone on from
    for stage in [*stopped, *(path.parent for path in stages.glob(f"*/{OUTCOME}"))]:
        (stage / "reference.safetensors").unlink(missing_ok=True)
        for checkpoint in stage.glob("checkpoint-*"):
            shutil.rmtree(checkpoint, ignore_errors=True)
