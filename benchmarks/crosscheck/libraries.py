"""The other libraries' side; runs in their own environment (requirements.txt), so it imports nothing of napo.

Takes   JSON on standard input: cases by name (scores, right, k), lists with their items' popularity and genres
Gives   JSON on standard output: task -> metric -> library -> value, and the libraries' versions
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import ranx
from rectools import Columns
from rectools import metrics as rectools


def of_cases(scores, right, k):
    """Means over cases. scores, right: (cases, M); as many targets in each case."""
    scores, right = np.array(scores), np.array(right)
    candidates, targets = scores.shape[1], int(right[0].sum())
    qrels = {f"q{case}": {f"d{item}": 1 for item in np.flatnonzero(row)} for case, row in enumerate(right)}
    run = {f"q{case}": {f"d{item}": float(score) for item, score in enumerate(row)} for case, row in enumerate(scores)}
    names = ("hit_rate", "recall", "precision", "ndcg", "mrr", "map")
    asked = {name: f"{name}@{k}" for name in names} | {"map of all": "map"}
    found = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), list(asked.values()))
    theirs = {name: {"ranx": float(found[metric])} for name, metric in asked.items()}

    case, item = np.nonzero(np.ones_like(scores))
    order = np.argsort(np.argsort(-scores, axis=1), axis=1) + 1
    reco = pd.DataFrame({Columns.User: case, Columns.Item: item, Columns.Rank: order[case, item]})
    reco = reco.sort_values([Columns.User, Columns.Rank])
    case, item = np.nonzero(right)
    taken = pd.DataFrame({Columns.User: case, Columns.Item: item})
    asked = {
        "hit_rate": rectools.HitRate(k=k),
        "recall": rectools.Recall(k=k),
        "precision": rectools.Precision(k=k),
        "ndcg": rectools.NDCG(k=k, divide_by_achievable=True),
        "ndcg over all k places": rectools.NDCG(k=k),
        "mrr": rectools.MRR(k=k),
        "map": rectools.MAP(k=k),
        "map of all": rectools.MAP(k=candidates),
        "auc": rectools.PartialAUC(k=candidates - targets),
    }
    found = rectools.calc_metrics(asked, reco=reco, interactions=taken, catalog=np.arange(candidates))
    for name, value in found.items():
        theirs.setdefault(name, {})["RecTools"] = float(value)
    return theirs


def of_lists(lists, popularity, users, distances):
    """lists: (users, k). popularity: (items,), so many of the first users took each. distances: (items, items)."""
    lists = np.array(lists)
    user, place = np.nonzero(lists >= 0)
    reco = pd.DataFrame({Columns.User: user, Columns.Item: lists[user, place], Columns.Rank: place + 1})
    taken = [(person, item) for item, count in enumerate(popularity) for person in range(count)]
    assert len({person for person, _ in taken}) == users, "every user took something"
    before = pd.DataFrame(taken, columns=[Columns.User, Columns.Item])
    k, catalog = lists.shape[1], np.arange(len(popularity))
    values = {
        "popularity": rectools.AvgRecPopularity(k=k).calc(reco, before),
        "popularity share": rectools.AvgRecPopularity(k=k, normalize=True).calc(reco, before),
        "coverage": rectools.CatalogCoverage(k=k, normalize=True).calc(reco, catalog),
        "novelty": rectools.MeanInvUserFreq(k=k).calc(reco, before),
        "diversity": rectools.IntraListDiversity(k=k, distance_calculator=np.array(distances)).calc(reco),
    }
    return {name: {"RecTools": float(value)} for name, value in values.items()}


def main():
    asked = json.load(sys.stdin)
    answer = {name: of_cases(**case) for name, case in asked["cases"].items()}
    answer |= {name: of_lists(**lists) for name, lists in asked["lists"].items()}
    versions = {name: version(name) for name in ("ranx", "rectools", "numpy")}
    json.dump({"values": answer, "versions": versions}, sys.stdout)


if __name__ == "__main__":
    main()
