"""A small recommender for tests: 40 films, three users, an untrained model of one layer."""

import numpy as np
import polars as pl

from napo.data.catalog import Catalog
from napo.data.histories import Histories
from napo.models.language import create
from napo.recipe_keys import ModelSection, PromptSection
from napo.scoring.batch import Normalize
from napo.serving.recommender import Recommender

# items 0-5; "i30" is item 5's title, and item 30's key
FIRST = ("Alien", "Aliens", "Crash", "Crash", "Me; Myself", "i30")
TITLES = (*FIRST, *(f"Title number {number}" for number in range(6, 40)))
KEYS = tuple(f"i{number:02d}" for number in range(40))
# Alien and Aliens, the two called "Crash", the next two, and of the others every third
GENRES = ["Horror|Sci-Fi", "Action|Sci-Fi", "Drama", "Crime|Drama", None, "Comedy"]
GENRES += [("Comedy", "Drama|War", "Film Noir")[number % 3] for number in range(6, 40)]
YEARS = ["1979", "1986", "1996", "2004", None, "unknown", *(str(1900 + number) for number in range(6, 40))]
FILMS = Catalog(KEYS, TITLES, pl.DataFrame({"genre": GENRES, "Year": YEARS}))
POPULARITY = np.arange(40)[::-1].copy()  # item 0 the most popular, but
POPULARITY[3] = POPULARITY[2]  # the two films called "Crash" alike

USERS = Histories(
    user_keys=("ann", "bob", "cay"),
    liked=(np.array([8, 9]), np.array([], dtype=np.int64), np.arange(40)),
    known=(np.array([0, 8, 9]), np.array([0, 1]), np.arange(40)),  # ann has met Alien and did not like it
    popularity=POPULARITY,
)


def small_recommender(max_history: int = 50, normalize: Normalize = "catalog", remembers: int = 0) -> Recommender:
    section = ModelSection(width=32, layers=1, heads=2, feed_forward=32, vocabulary=400)
    language = create(section, FILMS, PromptSection(max_history=max_history), normalize, seed=0)
    return Recommender(language, USERS, remembers=remembers)
