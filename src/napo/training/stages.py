"""What the two stages of a recipe are made from.

Path    recipe, prepared data, language model -> [training.stages] -> training.stage
Takes   Recipe, Prepared, LanguageModel, a function that gives the auxiliary model where it is needed
Gives   StageInputs
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napo import plugins
from napo.arrays import IntArray
from napo.data.prepare import Prepared, key_of
from napo.errors import UserError
from napo.evaluation.runs import display_name
from napo.models.language import LanguageModel
from napo.models.pretrained import weights_digest
from napo.models.tokens import tokenizer_digest
from napo.negatives._protocol import Example, NegativeSampler, rejectable
from napo.objectives import sft
from napo.recipe_keys import Method, Recipe, Stage
from napo.rng import seed_for
from napo.scoring import temperature
from napo.scoring.batch import NONE
from napo.scoring.temperature import AdaptiveTemperature
from napo.training.batches import AuxiliaryVectors, Drawing, RowSettings, TrainingBatches
from napo.training.examples import Layout, Limits, Plan, Span, check_titles_fit, kept_back
from napo.training.oracle import Judges, folds_of, held_out_margins
from napo.training.pairs import Pairs, kept_pairs, make_pairs
from napo.training.processes import ranks
from napo.training.refresh import rows_of_passes
from napo.training.samplers import Auxiliary, labeller_of, sampler_of
from napo.training.stage import StageInputs

Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Part:
    """Some of a stage's rows alone, trained as a stage of its own: a pass of a round (training.rounds).

    name: what its chance is keyed by, and what it is called. choose: of a stage's spans those that train.
    """

    name: str
    choose: Callable[[list[Span]], list[Span]]
    label: Method


WHOLE = Part("preference", lambda spans: spans, Method(name="logged"))


def check_rows(recipe: Recipe, prepared: Prepared, language: LanguageModel) -> None:
    """Raises UserError for what would stop one of the stages later: all of it shows before the first has begun."""
    frame, listed = language.frame, recipe.candidates.count if recipe.prompt.kind == "list" else 0
    check_titles_fit(language.tree, frame, Limits(recipe.prompt.max_history, recipe.prompt.max_tokens), listed)
    stages: dict[str, Stage | None] = {
        "sft": recipe.sft,
        "preference": None if recipe.objective is None else recipe.preference,
    }
    for name, stage in stages.items():
        if stage is not None and stage.form == "trajectory" and not frame.open:
            what, remedy = (
                ("this template has words after it", "that ends with {history}")
                if frame.titles_first
                else ("this template says something of an item before its title", "whose line begins with {title}")
            )
            raise UserError(
                f"a trajectory goes on where the history ends, and {what}",
                where=f"prompt.template, {name}.form",
                remedy=f"`{name}.form: prompt`, or a template {remedy}",
            )
    if recipe.sft is not None:
        _temperature(recipe)
    rejected = max(recipe.negatives.count if stages["preference"] is not None else 0, listed - 1)
    trains = [prepared.split.seen(user) for user in range(len(prepared.split.sequences))]
    most = max(range(len(trains)), key=lambda user: len(np.unique(trains[user])))
    if len(trains[most]):
        rejectable(len(prepared.log.catalog), Example(most, NONE, int(trains[most][-1])), trains[most], rejected)
    if recipe.objective is not None and hasattr(objective := objective_of(recipe.objective), "token_layers"):
        objective.token_layers(language.policy.lens.depth)
    preference = stages["preference"]
    if preference is not None and preference.form == "trajectory" and not language.shared:
        raise UserError(
            f"{language.usage.name} can't have rejected titles beside a trajectory: it takes no 4-D attention mask, or"
            " what its tokens see depends on their order in the row",
            where="preference.form",
            remedy="`preference.form: prompt`, where each title gets a prompt of its own",
        )


def supervised_inputs(recipe: Recipe, prepared: Prepared, language: LanguageModel) -> StageInputs:
    """SFT: the chosen titles alone."""
    assert recipe.sft is not None
    first, _ = kept_back(prepared.split, recipe.sft.keep_back)
    begin = prepared.split.begins
    drawing = Drawing()
    if recipe.prompt.kind == "list":
        # the prompt names candidates: the chosen title among others
        drawing = Drawing(sampler_of(Method(name="uniform"), prepared, language, None), 0, recipe.candidates.count)
    batches = _batches(recipe, prepared, language, recipe.sft, (begin, first), drawing, None, "sft")
    return StageInputs(
        name="SFT",
        language=language,
        objective=sft.Objective(sft.Settings()),
        batches=batches,
        settings=recipe.sft,
        cases=prepared.valid,
        lists=prepared.valid_lists,
        seed=recipe.seed,
        mixed=_mixed(recipe),
        temperature=_temperature(recipe),
    )


def preference_inputs(
    recipe: Recipe,
    prepared: Prepared,
    language: LanguageModel,
    auxiliary: Auxiliary,
    *,
    part: Part | None = None,
    kept: Path | None = None,
    told: Told | None = None,
) -> StageInputs:
    """The preference stage: the recipe's objective over chosen and rejected titles.

    part: a pass of a round. kept: where pairs that are made beforehand stay; None: nowhere. told: how far they are.
    """
    assert recipe.preference is not None and recipe.objective is not None
    objective = objective_of(recipe.objective)
    plain = not objective.needs_rejected
    sampler = (
        None if plain and recipe.prompt.kind == "next" else sampler_of(recipe.negatives, prepared, language, auxiliary)
    )
    listed = recipe.candidates.count if recipe.prompt.kind == "list" else 0
    borrow = getattr(objective, "borrow", None)
    beside: dict[str, Any] = {} if borrow is None else {"borrow": recipe.objective.settings}
    vectors = None
    if objective.needs_auxiliary:
        judges = _judges(recipe, prepared, auxiliary, getattr(objective, "folds", 1))
        vectors = _vectors(prepared, judges)
        if (calibrate := getattr(objective, "calibrate", None)) is not None:
            assert sampler is not None
            calibrate(held_out_margins(prepared.valid, sampler, judges, recipe.negatives.count, recipe.seed))
    begin, _, end = _positives(recipe, prepared)
    of, spans = part or WHOLE, None
    if part is not None or hasattr(sampler, "propose"):
        spans = of.choose(_spans(recipe, prepared, language, recipe.preference, (begin, end)))
        if sampler is not None:
            sampler = _pairs(recipe, prepared, language, auxiliary, sampler, spans, of, kept, told)
            spans = sampler.trained(spans)
    if (digest := getattr(sampler, "digest", None)) is not None:
        beside["drawn_from"] = digest
    relabel = sampler.relabelled if isinstance(sampler, Pairs) else None
    drawing = Drawing(sampler, 0 if plain else recipe.negatives.count, listed, borrow, relabel, side=True)
    batches = _batches(recipe, prepared, language, recipe.preference, (begin, end), drawing, vectors, of.name, spans)
    return StageInputs(
        name=display_name(recipe) if part is None else part.name,
        language=language,
        objective=objective,
        batches=batches,
        settings=recipe.preference,
        cases=prepared.valid,
        lists=prepared.valid_lists,
        seed=recipe.seed,
        mixed=_mixed(recipe),
        needs_reference=bool(objective.needs_reference),
        made_by=_made_by(recipe, prepared, language) | beside | ({} if part is None else {"part": part.name}),
    )


def supervised_pass(
    recipe: Recipe, prepared: Prepared, language: LanguageModel, settings: Stage, part: Part
) -> StageInputs:
    """More supervised training, on the rows of a round, cut as the preference stage has them."""
    begin, _, end = _positives(recipe, prepared)
    spans = part.choose(_spans(recipe, prepared, language, settings, (begin, end)))
    drawing = Drawing()
    if recipe.prompt.kind == "list":
        drawing = Drawing(sampler_of(Method(name="uniform"), prepared, language, None), 0, recipe.candidates.count)
    return StageInputs(
        name=part.name,
        language=language,
        objective=sft.Objective(sft.Settings()),
        batches=_batches(recipe, prepared, language, settings, (begin, end), drawing, None, part.name, spans),
        settings=settings,
        cases=prepared.valid,
        lists=prepared.valid_lists,
        seed=recipe.seed,
        mixed=_mixed(recipe),
    )


def fallen_back(recipe: Recipe, prepared: Prepared, sampler: NegativeSampler | None) -> dict[str, int] | None:
    """How many rejected items an epoch has, and for how many of them a sampler has too few of its own kind.

    None for samplers that never have too few.
    """
    own = getattr(sampler, "own", None)
    if own is None:
        return None
    begin, _, end = _positives(recipe, prepared)
    count, split = recipe.negatives.count, prepared.split
    events = (end - begin).tolist()
    found = sum(events[user] * own(user, split.seen(user), count) for user in range(len(events)) if events[user])
    wanted = sum(events) * count
    return {"rejected": wanted, "rejected_fallen_back": wanted - found}


def objective_of(method: Method) -> Any:
    """The objective that a recipe names, built with its settings."""
    module = plugins.load("objectives", method.name)
    return plugins.objective(method.name, module.Settings(**method.settings))


def overlap(recipe: Recipe, prepared: Prepared) -> dict[str, int]:
    """How many positives the preference stage has, and how many of them are SFT targets as well.

    SFT has put these at their maximum already: all that a preference loss can do to them is to lower them.
    """
    if recipe.objective is None:
        return {"preference_positives": 0, "sft_targets": 0}
    begin, first, end = _positives(recipe, prepared)
    shared = 0 if recipe.sft is None else int((first - begin).sum())
    return {"preference_positives": int((end - begin).sum()), "sft_targets": shared}


def _positives(recipe: Recipe, prepared: Prepared) -> tuple[IntArray, IntArray, IntArray]:
    """(users,) thrice: where the preference stage's events begin, where SFT's end, where its own end."""
    assert recipe.preference is not None
    first, end = kept_back(prepared.split, recipe.sft.keep_back if recipe.sft is not None else 0.0)
    return (first if recipe.preference.positives == "kept_back" else prepared.split.begins), first, end


def _batches(
    recipe: Recipe,
    prepared: Prepared,
    language: LanguageModel,
    stage: Stage,
    events: tuple[IntArray, IntArray],
    drawing: Drawing,
    vectors: AuxiliaryVectors | None,
    name: str,
    spans: list[Span] | None = None,
) -> TrainingBatches:
    """spans: those that train, where it is not all of the events."""
    layout, seed = _layout(recipe, prepared, language, stage), seed_for(recipe.seed, name)
    if recipe.refresh is not None and spans is None:
        plan = Plan(_refreshed_rows(recipe, prepared, layout, stage, events, seed), stage.batch, stage.epochs, seed)
    elif stage.shift and spans is None:  # rows of one event, of a prompt, have nowhere else to be cut
        plan = Plan(lambda e: layout.shifted_spans(*events, _per_row(stage), e, seed), stage.batch, stage.epochs, seed)
    else:
        every = spans if spans is not None else _spans(recipe, prepared, language, stage, events)
        plan = Plan(every, stage.batch, stage.epochs, seed)
    settings = RowSettings(
        layout=layout,
        tree=language.tree,
        frame=language.frame,
        normalize=recipe.normalize,
        form=stage.form,
        seed=seed,
        leave_out=stage.leave_out,
        drawing=drawing,
        auxiliary=vectors,
        shared=language.shared,
    )
    return TrainingBatches(settings, plan, ranks=ranks())


def _layout(recipe: Recipe, prepared: Prepared, language: LanguageModel, stage: Stage) -> Layout:
    limits = Limits(recipe.prompt.max_history, recipe.prompt.max_tokens, stage.overlap)
    return Layout(prepared.split, language.tree, language.frame, limits)


def _spans(
    recipe: Recipe, prepared: Prepared, language: LanguageModel, stage: Stage, events: tuple[IntArray, IntArray]
) -> list[Span]:
    layout = _layout(recipe, prepared, language, stage)
    if recipe.refresh is not None:  # those of the first pass
        return _refreshed_rows(recipe, prepared, layout, stage, events, recipe.seed)(0)
    return layout.spans(*events, _per_row(stage))


def _refreshed_rows(
    recipe: Recipe, prepared: Prepared, layout: Layout, stage: Stage, events: tuple[IntArray, IntArray], seed: int
) -> Callable[[int], list[Span]]:
    assert recipe.refresh is not None and prepared.news is not None
    return rows_of_passes(layout, events, _per_row(stage), prepared.news.begins, recipe.refresh.replay, seed)


def _per_row(stage: Stage) -> int:
    return stage.row if stage.form == "trajectory" else 1


def _pairs(
    recipe: Recipe,
    prepared: Prepared,
    language: LanguageModel,
    auxiliary: Auxiliary,
    sampler: NegativeSampler,
    spans: list[Span],
    part: Part,
    kept: Path | None,
    told: Told | None,
) -> Pairs:
    """The pairs of the spans, made by the model as it is now, or found where the same things made them."""
    seed, labeller = seed_for(recipe.seed, part.name), labeller_of(part.label, prepared, language, auxiliary)
    made_by = {
        **_made_by(recipe, prepared, language),
        "part": [part.name, part.label.model_dump()],
        "weights": weights_digest(language.model),
        "temperature": language.policy.temperature,
        "sampler_digest": getattr(sampler, "digest", None),
        "spans": [[span.user, span.begin, span.end] for span in spans],
    }
    count = recipe.negatives.count
    return kept_pairs(
        lambda: make_pairs(sampler, labeller, spans, prepared.split, count=count, seed=seed, progress=told),
        None if kept is None else kept / f"pairs-{key_of(made_by)}.safetensors",
    )


def _judges(recipe: Recipe, prepared: Prepared, auxiliary: Auxiliary, folds: int) -> Judges:
    if folds == 1:
        return Judges.alone(auxiliary(), len(prepared.split.sequences))
    fold = folds_of(prepared.split, folds, recipe.seed)
    return Judges(tuple(auxiliary(folds, index) for index in range(folds)), fold)


def _vectors(prepared: Prepared, judges: Judges) -> AuxiliaryVectors:
    split, length = prepared.split, judges.models[0].settings.max_length
    trains = tuple(sequence[:stop] for sequence, stop in zip(split.sequences, split.valid_from.tolist(), strict=True))
    return AuxiliaryVectors(trains, judges.history_vectors, judges.item_vectors, split.begins, length)


def _temperature(recipe: Recipe) -> AdaptiveTemperature | None:
    """MSL's, where the recipe asks for it; it is one of the catalog's softmax."""
    assert recipe.sft is not None
    if recipe.sft.temperature is None:
        return None
    if recipe.normalize != "catalog" or recipe.sft.temperature.name != "adaptive":
        raise UserError(
            "the only temperature of the supervised stage is `adaptive`, under `normalize: catalog`",
            where="sft.temperature",
            remedy="{name: adaptive}, or null",
        )
    return AdaptiveTemperature(temperature.Settings(**recipe.sft.temperature.settings))


def _mixed(recipe: Recipe) -> bool:
    """bfloat16 autocast over float32 weights, where the hardware has it."""
    full = recipe.model.lora is None and recipe.model.precision == "auto"
    return full and torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _made_by(recipe: Recipe, prepared: Prepared, language: LanguageModel) -> dict[str, Any]:
    assert recipe.preference is not None
    return {
        "tokenizer": tokenizer_digest(language.tokenizer),
        "template": language.wording,
        "limits": [recipe.prompt.max_history, recipe.prompt.max_tokens],
        "normalize": recipe.normalize,
        "split": prepared.split.digest,
        "sampler": recipe.negatives.model_dump(),
        "auxiliary": None if recipe.auxiliary is None else recipe.auxiliary.model_dump(),
        "listed": recipe.candidates.count if recipe.prompt.kind == "list" else 0,
        "keep_back": None if recipe.sft is None else recipe.sft.keep_back,
        "rows": recipe.preference.model_dump(
            mode="json", include={"form", "epochs", "batch", "leave_out", "positives", "row", "overlap", "shift"}
        ),
        "seed": recipe.seed,
        **refreshed(recipe, prepared),
    }


def refreshed(recipe: Recipe, prepared: Prepared) -> dict[str, Any]:
    """What decides on a stage's rows where the run goes on from an earlier one."""
    if recipe.refresh is None or prepared.news is None:
        return {}
    return {"replay": [recipe.refresh.replay, hashlib.sha256(prepared.news.begins.tobytes()).hexdigest()]}
