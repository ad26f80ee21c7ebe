"""Rounds of self-training: propose, label, train, look, and again from what came out.

Path    recipe, the supervised start -> [training.rounds] -> best/, outcome.json, metrics.jsonl
Takes   a recipe with `rounds`; the model as it is before them
Gives   Outcome of all rounds as of one stage; the model holds the delivered weights

A round, with the model of the round before:

    propose   `negatives` come up with items for each of the round's examples; `generated` asks the model itself
    label     `rounds.label` says which of logged and proposed items are chosen and rejected
    train     a supervised pass over the examples (`rounds.sft`), then the recipe's objective over the pairs
    look      at validation, before and after each pass

    rounds/start/             the weights before the first round
    rounds/round-N/           pairs-*.safetensors, supervised/, preference/: stages with checkpoints of their own
    rounds/round-N/round.json written last: this round is not run again

Which methods are made of this: docs/rounds.md.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napo.data.prepare import Prepared
from napo.evaluation.runs import display_name
from napo.files import folder_aside, write_aside
from napo.models.language import LanguageModel, recipe_dropout
from napo.models.pretrained import save_model
from napo.recipe_keys import Recipe, RoundsSection, Stage
from napo.rng import rng_for
from napo.training.callbacks import BEST, VALIDATION, Watch, best_of
from napo.training.examples import Span
from napo.training.pairs import Pairs
from napo.training.processes import alone_in, is_main, main_first, meet
from napo.training.samplers import Auxiliary
from napo.training.stage import Outcome, run_stage
from napo.training.stages import Part, Told, preference_inputs, supervised_pass
from napo.training.weights import load_policy_weights

if TYPE_CHECKING:
    from napo.training.run import Progress

START, ROUND, METRICS = "start", "round.json", "metrics.jsonl"
SUPERVISED, PREFERENCE = "supervised", "preference"
Look = dict[str, float]


@dataclass(frozen=True)
class Ended:
    """A round that is over. passes: the outcome of each, in order. proposals: see pairs.figures_of."""

    number: int
    passes: dict[str, Outcome]
    proposals: dict[str, float]
    proposing: float  # seconds

    @property
    def steps(self) -> int:
        return sum(outcome.steps for outcome in self.passes.values())

    @property
    def seconds(self) -> float:
        return self.proposing + sum(outcome.seconds for outcome in self.passes.values())

    @property
    def start(self) -> Look:
        return next(iter(self.passes.values())).start

    @property
    def end(self) -> Look:
        """The look at what the round hands on."""
        return self.passes[PREFERENCE].best

    def save(self, folder: Path) -> None:
        with write_aside(folder / ROUND) as aside:
            aside.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Ended | None":
        path = folder / ROUND
        if not path.is_file():
            return None
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(**said | {"passes": {name: Outcome(**one) for name, one in said["passes"].items()}})


@dataclass(frozen=True)
class Rounds:
    """The rounds of one recipe, in a folder that may hold an earlier, broken attempt."""

    recipe: Recipe
    prepared: Prepared
    language: LanguageModel
    auxiliary: Auxiliary
    folder: Path
    progress: "Progress"
    watch: Watch | None = None

    @property
    def settings(self) -> RoundsSection:
        assert self.recipe.rounds is not None
        return self.recipe.rounds

    def run(self) -> Outcome:
        """All the rounds, or those that are left; the delivered weights go into the model."""
        say = self.progress.say
        with alone_in(self.folder, lambda: say("rounds: another run has this folder; waiting for it to end")):
            done = Outcome.load(self.folder)
            if done is None:
                done = self._all()
                if is_main():
                    done.save(self.folder)
                meet()
        self._load(self.folder / BEST)
        return done

    def _all(self) -> Outcome:
        with main_first():
            if is_main() and not (self.folder / START).is_dir():
                with folder_aside(self.folder / START) as aside:
                    save_model(self.language.model, aside)
        ended: list[Ended] = []
        for number in range(1, self.settings.count + 1):
            one = Ended.load(self._place(number)) or self._round(number)
            ended.append(one)
            self.progress.say(self._said(one))
            if self.watch is not None:
                self.watch(_looks(ended), number == self.settings.count)
        looks = _looks(ended)
        chosen = best_of(looks) if self.settings.keep == "round" else looks[-1]
        place = looks.index(chosen)
        with main_first():
            if is_main():
                self._deliver(place, chosen, ended)
        seconds = round(sum(one.seconds for one in ended), 1)
        return Outcome(display_name(self.recipe), looks[0], chosen, looks[-1], int(looks[-1]["step"]), seconds)

    # --- one round -----------------------------------------------------------------------------------------------

    def _round(self, number: int) -> Ended:
        """Go through a round, or on with it. What it leaves behind is what the next one needs."""
        folder, name = self._place(number), f"round {number}"
        self._load(self._handed_on(number))
        # before any training: what is rejected is what this model, not the next one, comes up with
        part = Part(f"{name}, preference", lambda spans: self._examples(spans, number), self.settings.label)
        inputs = preference_inputs(
            self.recipe,
            self.prepared,
            self.language,
            self.auxiliary,
            part=part,
            kept=folder,
            told=told(self.progress, f"{name}, proposals"),
        )
        passes, newest = dict[str, Outcome](), self.settings.keep != "look"
        if (stage := supervised_stage(self.recipe)) is not None:
            before = supervised_pass(
                self.recipe, self.prepared, self.language, stage, replace(part, name=f"{name}, supervised")
            )
            with recipe_dropout(self.language, self.recipe.model):
                passes[SUPERVISED] = self._pass(replace(before, newest=newest), folder / SUPERVISED)
        reference = {"pass": None, "round": self._handed_on(number), "start": self.folder / START}
        inputs = replace(inputs, newest=newest, reference_from=reference[self.settings.reference])
        with recipe_dropout(self.language, self.recipe.model, on=inputs.settings.dropout):  # type: ignore[attr-defined]
            passes[PREFERENCE] = self._pass(inputs, folder / PREFERENCE)
        pairs = inputs.batches.settings.drawing.sampler
        made = (dict(pairs.figures), pairs.seconds) if isinstance(pairs, Pairs) else ({}, 0.0)
        ended = Ended(number, passes, *made)
        with main_first():
            if is_main():
                ended.save(folder)
                _remove_what_only_resuming_needs(folder)
        return ended

    def _pass(self, inputs: Any, folder: Path) -> Outcome:
        return run_stage(inputs, folder, self.progress.stage(inputs.name), self.progress.say)

    def _examples(self, spans: list[Span], number: int) -> list[Span]:
        """The rows of a round: drawn without replacement until they hold as many examples as the recipe says."""
        wanted, settings = self.settings.examples, self.settings
        if wanted is None:
            return spans
        rng = rng_for(self.recipe.seed, "round", number if settings.redraw else 0, "examples")
        found, held = [], 0
        for place in rng.permutation(len(spans)).tolist():
            if held >= wanted:
                break
            found.append(place)
            held += spans[place].end - spans[place].begin
        return [spans[place] for place in sorted(found)]

    # --- what lies where -----------------------------------------------------------------------------------------

    def _place(self, number: int) -> Path:
        return self.folder / f"round-{number}"

    def _handed_on(self, number: int) -> Path:
        """The weights that a round begins with."""
        return self.folder / START if number == 1 else self._place(number - 1) / PREFERENCE / BEST

    def _load(self, folder: Path) -> None:
        load_policy_weights(self.language.model, folder)
        self.language.model.eval()

    def _deliver(self, place: int, look: Look, ended: Sequence[Ended]) -> None:
        with folder_aside(self.folder / BEST) as aside:
            shutil.copytree(self._handed_on(place + 1), aside, dirs_exist_ok=True)
            (aside / VALIDATION).write_text(json.dumps(look))
        with write_aside(self.folder / METRICS) as aside:
            aside.write_text("".join(json.dumps(line) + "\n" for line in self._lines(ended)), encoding="utf-8")

    def _lines(self, ended: Sequence[Ended]) -> list[dict[str, float]]:
        """What all the passes logged, as of one stage: steps and seconds go on; a look at a start counts once."""
        lines: list[dict[str, float]] = []
        step, seconds = 0, 0.0
        for one in ended:
            seconds += one.proposing
            for name, outcome in one.passes.items():
                text = (self._place(one.number) / name / METRICS).read_text(encoding="utf-8")
                for line in map(json.loads, text.splitlines()):
                    if line["step"] or not step:
                        moved = {"step": step + line["step"], "seconds": round(seconds + line["seconds"], 3)}
                        lines.append({**line, **moved, "round": one.number})
                step, seconds = step + outcome.steps, seconds + outcome.seconds
        return lines

    def _said(self, one: Ended) -> str:
        looks = [one.start, *(outcome.best for outcome in one.passes.values())]
        way = " -> ".join(f"{look['ndcg']:.4f}" for look in looks)
        said = f"Round {one.number} of {self.settings.count}: validation NDCG {way}, HR@1 {one.end['hr@1']:.4f}"
        if not one.proposals:
            return said
        figures = one.proposals
        return (
            f"{said}; {figures['distinct']:,.0f} items proposed, {figures['target']:.1%} the logged title itself,"
            f" {figures['history']:.1%} of the history; {figures['left_out']:.1%} of the examples left out"
        )


def told(progress: "Progress", name: str) -> Told:
    """How far the making of pairs is, as a stage of its own; it begins where pairs are made."""
    step: list[Callable[[int, int, dict[str, float]], None]] = []

    def tell(done: int, total: int) -> None:
        if not step:
            step.append(progress.stage(name))
        step[0](done, total, {})

    return tell


def supervised_stage(recipe: Recipe) -> Stage | None:
    """The supervised pass as a stage: its own keys, and the preference stage's for the rest."""
    assert recipe.rounds is not None and recipe.preference is not None
    given = recipe.rounds.sft
    return None if given is None else recipe.preference.model_copy(update=given.model_dump(exclude_none=True))


def _looks(ended: Sequence[Ended]) -> list[Look]:
    """Validation before the first round and after each, at the steps taken so far."""
    looks, steps = [ended[0].start], 0
    for one in ended:
        steps += one.steps
        looks.append({**one.end, "step": steps})
    return looks


def _remove_what_only_resuming_needs(folder: Path) -> None:
    for path in [*folder.glob("*/checkpoint-*"), *folder.glob("*/reference-*")]:
        shutil.rmtree(path)
