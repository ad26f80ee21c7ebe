"""The keys of a recipe, section by section, with their defaults.

Path    recipe_reading -> [recipe_keys] -> recipe
Takes   plain data
Gives   Recipe, frozen; an unknown key or a value of another kind is a ValidationError
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, PrivateAttr

from napo import plugins
from napo.data.settings import DataSettings, SplitSettings
from napo.recipe_reading import OwnKeys, Places, to_yaml
from napo.settings import Strict

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # as numpy's and torch's generators take them
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Word = Annotated[str, Field(min_length=1)]
FilePath = Annotated[Path, Field(strict=False)]


class Section(Strict):
    """Keys under one heading. Strict: "20" is no number and true is no 1; what looks like a slip is one."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Method(BaseModel):
    """A name, and the settings of what it names; these are checked by `check_methods`, which imports it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Word

    @property
    def file(self) -> Path | None:
        """The user's own file that an objective's name names; None for a method that goes by a name."""
        return Path(self.name) if plugins.is_file(self.name) else None

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class DataSection(Section, DataSettings):
    folder: FilePath | None = None
    interactions: FilePath | None = None
    items: FilePath | None = None
    exposures: FilePath | None = None
    catalog: FilePath | None = None
    train: FilePath | None = None
    valid: FilePath | None = None
    test: FilePath | None = None


class SplitSection(Section, SplitSettings):
    pass


class CandidatesSection(Section):
    """The lists that a case is ranked over: its target and others that the user never met."""

    count: Annotated[int, Field(ge=2)] = 20
    seed: Whole = 0
    negatives: Literal["uniform", "popularity", "matched"] = "uniform"


class DropoutSection(Section):
    embedding: Share = 0.2
    block: Share = 0.0


def _as_lists(targets: str | tuple[str, ...]) -> str | list[str]:
    return targets if isinstance(targets, str) else list(targets)


def _lora_targets(value: object) -> object:
    if value == "all-linear":
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ValueError("should be all-linear, or a list of the names of layers")


class LoraSection(Section):
    r: Count = 8
    alpha: Count = 32
    dropout: Share = 0.1
    targets: Annotated[
        Literal["all-linear"] | tuple[str, ...], PlainValidator(_lora_targets), PlainSerializer(_as_lists)
    ] = "all-linear"


class ModelSection(Section):
    # `tiny`, made from scratch; a model that napo knows; a folder (./mine); a file (mine.gguf); a name on the hub
    name: Word = "tiny"
    width: Count = 128
    layers: Count = 4
    heads: Count = 4
    feed_forward: Count = 384
    vocabulary: Annotated[int, Field(ge=300)] = 8192  # tokens, of which 256 are the bytes
    dropout: DropoutSection = DropoutSection()
    lora: LoraSection | None = None  # None: all weights are trained
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    load_in: Literal["4bit"] | None = None  # how frozen weights under an adapter are held (QLoRA); needs a GPU


class PromptSection(Section):
    kind: Literal["next", "list"] = "next"  # the history alone, or the history and the candidates
    template: Word = "next"  # one that napo ships, or a text file: ./mine.txt
    max_history: Count = 50  # newest items shown
    max_tokens: Annotated[int, Field(ge=16)] = 512


class Stage(Section):
    """What both stages of training have."""

    form: Literal["trajectory", "prompt"] = "trajectory"  # a loss at every title of a history, or at the last alone
    epochs: Positive = 1.0
    lr: Positive
    weight_decay: NotNegative = 0.0
    warmup_steps: Whole = 0
    batch: Count = 8  # rows a step, over all ranks
    clip: Positive = 1.0  # of the gradient's norm
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    row: Count = 100  # most trained titles of a trajectory
    overlap: Whole | None = None  # items repeated before a row's first trained one; None: prompt.max_history
    shift: bool = False  # cut rows at other places each epoch
    leave_out: Share = 0.0  # chance of each history item to be left out, drawn anew each epoch
    evaluate_every: Positive = 1.0  # epochs between two looks at validation
    save_every: Count | None = 200  # steps between two checkpoints, beside those at looks; null: at looks alone
    patience: Count | None = None  # looks without a better one after which training stops; None: never


class SftSection(Stage):
    epochs: Positive = 20.0
    lr: Positive = 1.5e-3
    weight_decay: NotNegative = 0.1
    warmup_steps: Whole = 100
    leave_out: Share = 0.2
    keep_back: Share = 0.0  # share of each user's positives that this stage leaves to the preference stage
    temperature: Method | None = None  # of the catalog's softmax, such as {name: adaptive} (arXiv 2504.04178)


class PreferenceSection(Stage):
    """Used where the recipe names an objective."""

    lr: Positive = 3e-4
    warmup_steps: Whole = 20
    dropout: bool = False  # with a reference it has to be off: rewards start at 0
    positives: Literal["all", "kept_back"] = "all"


class PassSection(Section):
    """The supervised pass of a round; what it does not say is the preference stage's."""

    epochs: Positive | None = None
    lr: Positive | None = None
    weight_decay: NotNegative | None = None
    warmup_steps: Whole | None = None
    batch: Count | None = None
    leave_out: Share | None = None
    evaluate_every: Positive | None = None


class RoundsSection(Section):
    """The preference stage again and again, each time on what the model of the last round proposes."""

    count: Count = 5
    examples: Count | None = None  # titles to train in a round, in whole rows; None: all
    redraw: bool = True  # other examples in each round
    sft: PassSection | None = PassSection()  # supervised training on the same examples first; None: none
    label: Method = Method(name="logged")  # which of logged and proposed titles is chosen
    # whose log-probs rewards are relative to: the model before the preference pass, before the round, before all rounds
    reference: Literal["pass", "round", "start"] = "pass"
    # what is delivered. round: the model of the best round, the start as round 0. look: every pass hands on its best
    # look at validation, its start included. last: the last round's
    keep: Literal["round", "look", "last"] = "round"


class RefreshSection(Section):
    """The run goes on from a finished one with a newer log; `napo train --from` writes this (docs/refresh.md)."""

    run: FilePath  # the earlier run's folder
    replay: Share = 0.5  # of what a pass trains, the share that the earlier run knew


class Negatives(Method):
    name: Word = "uniform"
    count: Count = 3  # rejected items of an example


# among the candidates; among the whole catalog; a title that the model writes, looked for among the candidates; among
# the candidates that the data's own files name
ProtocolName = Literal["cand20", "full", "gen20", "legacy"]
MatchName = Literal["equal", "substring", "substring-line"]


class EvaluationSection(Section):
    protocols: Annotated[tuple[ProtocolName, ...], Field(strict=False, min_length=1)] = ("cand20",)
    validation_cases: Count = 1000  # the same for every look
    test_cases: Count | None = None  # that all protocols judge, drawn once, for a costly model; None: all of them
    full_cases: Count | None = None  # test cases ranked over the whole catalog, drawn once; None: all of them
    ks: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (1, 5, 10)
    match: MatchName = "equal"  # of gen20: when what was written is a candidate's title
    # of full, as papers have it: lists are the titles nearest to one text that the model writes freely, by `spelling`
    # or an embedder's name; None: its best titles, exactly
    nearest: Word | None = None
    # columns of the items file to break results down by, and what separates their values: {genres: " "}
    groups: dict[Word, str] = Field(default_factory=dict)


class Recipe(Section):
    data: DataSection
    split: SplitSection = SplitSection()
    candidates: CandidatesSection = CandidatesSection()
    model: ModelSection = ModelSection()
    normalize: Literal["catalog", "vocabulary"] = "catalog"  # tokens compete with those that go on to a title, or all
    prompt: PromptSection = PromptSection()
    auxiliary: Method | None = Method(name="sasrec")
    sft: SftSection | None = SftSection()
    preference: PreferenceSection | None = PreferenceSection()
    objective: Method | None = None  # by name, or a file of one's own: ./my_loss.py; None: no preference stage
    negatives: Negatives = Negatives(name="uniform")
    rounds: RoundsSection | None = None  # None: the preference stage is trained once
    refresh: RefreshSection | None = None  # None: the model begins as `model` says
    evaluation: EvaluationSection = EvaluationSection()
    seed: Seed = 0

    _places: Places = PrivateAttr(default_factory=Places)

    @property
    def places(self) -> Places:
        """Where each key was written, for mistakes that show later; empty for a recipe made in Python."""
        return self._places

    def resolved(self) -> dict[str, Any]:
        """All keys with their values, defaults included, as plain data."""
        data = self.model_dump(mode="json")
        if self.model.name != "tiny":
            data["model"] = {key: value for key, value in data["model"].items() if key not in TINY_ONLY}
        # a recipe without these is what it was before they came: its cells are not run again
        if self.rounds is None:
            del data["rounds"]
        if self.evaluation.nearest is None:
            del data["evaluation"]["nearest"]
        if self.refresh is None:
            del data["refresh"]
        if self.split.cold == "apart":
            del data["split"]["cold"]
        if not self.split.join:
            del data["split"]["join"]
        if self.data.catalog is None:
            del data["data"]["catalog"], data["data"]["renamed"]
        return data

    def resolved_yaml(self) -> str:
        """The recipe as one file that stands alone: it reads back equal, with nothing left to defaults."""
        return to_yaml(self.resolved())


TINY_ONLY = frozenset({"width", "layers", "heads", "feed_forward", "vocabulary"})
# with a new name these keys go; the others stay what they were
OWN_KEYS: OwnKeys = {
    ("model",): TINY_ONLY.__contains__,
    ("objective",): lambda key: key not in Method.model_fields,
    ("auxiliary",): lambda key: key not in Method.model_fields,
    ("sft", "temperature"): lambda key: key not in Method.model_fields,
    ("negatives",): lambda key: key not in Negatives.model_fields,
    ("rounds", "label"): lambda key: key not in Method.model_fields,
}
