"""What is said over HTTP, in both directions.

Path    JSON -> [serving.http.bodies] -> app -> JSON
Takes   requests: unknown keys are refused, so that a mistyped one is not silently left out
Gives   the schemas that the OpenAPI page shows; limits here are the largest that any server allows
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

LONG = 100_000  # entries of a list, whatever the server's own limit
Text = Annotated[StrictStr, Field(max_length=2_000)]
Named = Text | StrictInt  # a title or a key; keys that are numbers may come as numbers
Names = Annotated[list[Named], Field(max_length=LONG)]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FilterBody(Body):
    """What may stand in the list."""

    where: list[Text] = Field(
        default=[],
        max_length=50,
        description="Conditions that all hold: `genre=Comedy`, `genre in A, B`, `year>=1990`.",
    )
    allow: Names | None = Field(default=None, description="Only these titles or keys.")
    block: Names = Field(default=[], description="Never these titles or keys.")
    caps: dict[Text, StrictInt] = Field(
        default={}, max_length=20, description='By column, at most so many items of one value: `{"genre": 2}`.'
    )


class Asking(Body):
    """Whose history is meant, and which model is asked."""

    history: Names | None = Field(default=None, description="Titles or keys, oldest first; or give a user.")
    user: Text | StrictInt | None = Field(default=None, description="A user that the model has a history of.")
    model: Text | None = Field(default=None, description="The name of a run; the first one if left out.")


class RecommendBody(Asking):
    """`POST /v1/recommend`."""

    k: StrictInt = Field(default=10, ge=1, description="How many items.")
    exclude_seen: StrictBool = Field(default=True, description="Leave out what the person has met.")
    filter: FilterBody = Field(default_factory=FilterBody)  # a default is copied deeply for each request
    explain: StrictBool = Field(default=False, description="Say of each item why it stands there; costs time.")


class ScoreBody(Asking):
    """`POST /v1/score`."""

    titles: Names = Field(min_length=1, description="Titles or keys to score after the history.")
    explain: StrictBool = False


class Item(BaseModel):
    """An item of the catalog. popularity: events of it in training."""

    item: int
    key: str
    title: str
    popularity: int
    columns: dict[str, Any]


class Token(BaseModel):
    """One token of a title: its log-prob after the history, and without any."""

    text: str
    log_prob: float
    prior: float


class LeftOut(BaseModel):
    """An item of the history: the log-prob with it, less the one without it."""

    place: int
    item: int
    key: str
    title: str
    change: float


class Why(BaseModel):
    """Why an item stands where it does; log-probs in nats. prior: without a history; lift: what the history adds."""

    item: int
    key: str
    title: str
    log_prob: float
    prior: float
    lift: float
    tokens: list[Token]
    history: list[LeftOut]
    notes: list[str]


class Listed(Item):
    """An item of a list. log_prob: None where popularity ranked it. tied: with another of the very same score."""

    rank: int
    log_prob: float | None
    tied: bool
    why: Why | None = None


class Recommended(BaseModel):
    """Best first. notes: sentences on how the list came about. request: the list's own name, for events."""

    model: str
    request: str
    items: list[Listed]
    notes: list[str]


class ScoredTitle(BaseModel):
    """A title's log-probability, nats."""

    item: int
    key: str
    title: str
    log_prob: float
    why: Why | None = None


class Scores(BaseModel):
    """In the order in which they were asked for."""

    model: str
    scores: list[ScoredTitle]
    notes: list[str]


class Found(BaseModel):
    """Items whose titles are like what was typed, likeliest first."""

    model: str
    items: list[Item]


class ModelSaid(BaseModel):
    """A model that is served. columns: what filters and caps may name. loaded: seconds since 1970, UTC.

    report: whether `/report` has the run's report.
    """

    name: str
    items: int
    users: int
    columns: list[str]
    loaded: float
    report: bool


class Models(BaseModel):
    """All that are served; the first one answers where none is named."""

    models: list[ModelSaid]


class Mistake(BaseModel):
    """What is wrong, where, and what to do."""

    what: str
    where: str | None = None
    remedy: str | None = None


class Mistakes(BaseModel):
    """The body of every answer that is no success."""

    errors: list[Mistake]


class Health(BaseModel):
    """ok: whether it is."""

    ok: bool
