"""Does a probability of 0.8 come true in 8 of 10 cases, and do the lists keep the mixture of the history?

Path    scores of candidates, top lists -> [evaluation.calibration] -> results, table
Takes   the top candidate's probability (cases,) and whether it was right; group weights of histories and lists
Gives   Calibration; Brier and the KL divergence, one value a case

A perfectly calibrated model has an ECE above 0 too, and the more so the fewer the cases: the null says how large.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from napo.arrays import FloatArray, IntArray
from napo.evaluation.popularity_bias import shares
from napo.rng import rng_for

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Of the top candidate's probability. null: the mean ECE of hits drawn from the probabilities themselves."""

    ece: float
    null: float
    null_high: float  # 95 of 100 perfectly calibrated models stay below
    mean_probability: float
    hit_rate: float

    def __str__(self) -> str:
        return f"{self.ece:.3f} (perfect calibration: {self.null:.3f}, below {self.null_high:.3f} in 95 of 100)"

    @classmethod
    def of(cls, probability: FloatArray, hits: FloatArray, *, redraws: int = 200, seed: int = 0) -> "Calibration":
        """probability, hits: (cases,). A case without a probability, whose scores were all broken, is left out."""
        known = ~np.isnan(probability)
        probability, hits = probability[known], hits[known]
        rng = rng_for("calibrated hits", seed)
        fresh = rng.random((redraws, probability.size)) < probability
        null = np.array([ece(probability, drawn) for drawn in fresh.astype(np.float64)])
        return cls(
            ece=ece(probability, hits),
            null=float(null.mean()),
            null_high=float(np.quantile(null, 0.95)),
            mean_probability=float(probability.mean()),
            hit_rate=float(hits.mean()),
        )

    @classmethod
    def mean(cls, each: Sequence["Calibration"]) -> "Calibration":
        """Over seeds."""
        names = cls.__dataclass_fields__
        return cls(**{name: float(np.mean([getattr(one, name) for one in each])) for name in names})


def top_probability(scores: FloatArray) -> FloatArray:
    """(cases,) the softmax probability of the best of the candidates (cases, C); scores are logits or log-probs."""
    return np.asarray(np.exp(log_softmax(scores, axis=1).max(axis=1)))


def ece(probability: FloatArray, hits: FloatArray, bins: int = BINS) -> float:
    """Expected calibration error over bins of equally many cases: sum over bins of share x |mean p - mean hit|."""
    order = np.argsort(probability, kind="stable")
    gaps = [abs(float((probability[part] - hits[part]).sum())) for part in np.array_split(order, bins) if part.size]
    return float(np.sum(gaps)) / probability.size


def brier(probability: FloatArray, hits: FloatArray) -> FloatArray:
    """(cases,) (p - hit)^2 of the top candidate."""
    return np.asarray((probability - hits) ** 2)


def miscalibration(liked: FloatArray, recommended: FloatArray, smoothing: float = 0.01) -> FloatArray:
    """Steck's calibration (RecSys 2018): KL(p, 0.99 q + 0.01 p), nats, p history shares, q list shares.

    0 is the same mixture. liked, recommended: (..., groups) weights. NaN where either has no group at all.
    """
    p, q = shares(liked), shares(recommended)
    mixed = (1 - smoothing) * q + smoothing * p
    ratio = np.where(p > 0, p, 1.0) / np.where(p > 0, mixed, 1.0)
    known = (p.sum(axis=-1) > 0) & (q.sum(axis=-1) > 0)
    return np.where(known, (p * np.log(ratio)).sum(axis=-1), np.nan)


def user_miscalibration(liked: FloatArray, recommended: FloatArray, users: IntArray) -> FloatArray:
    """(cases,) `miscalibration` of each user's pooled lists against the pooled histories, the same for all its cases.

    One list of ten is too short for a mixture of genres; a user's lists together come nearer to it.
    """
    _, person = np.unique(users, return_inverse=True)
    pooled_liked, pooled_recommended = np.zeros((2, int(person.max()) + 1, liked.shape[1]))
    np.add.at(pooled_liked, person, liked)
    np.add.at(pooled_recommended, person, recommended)
    return np.asarray(miscalibration(pooled_liked, pooled_recommended)[person])
