"""Losses over scored titles, a file each; and what a file of one's own is written with (docs/own-objective.md)."""

from napo.objectives._loss import Loss, log_ratios, preference, preference_figures, token_means
from napo.scoring.scored import Scored, Side
from napo.settings import Strict

__all__ = ["Loss", "Scored", "Side", "Strict", "log_ratios", "preference", "preference_figures", "token_means"]
