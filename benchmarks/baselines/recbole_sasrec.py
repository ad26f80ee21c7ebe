"""RecBole's SASRec on the exported cases. Runs in an environment of its own: recbole-requirements.txt.

    python -m benchmarks.baselines.recbole_sasrec CASES OUT --seed 0 --settings '{"hidden_size": 64}'

RecBole's model and defaults (cross-entropy, Adam at 1e-3, 2,048 rows a step), trained as RecBole does on a row for each
event and the at most MAX_ITEM_LIST_LENGTH events before it; the loop is here, so that validation is the same
for all tools: the best weights among 20 candidates, looked at every five epochs, six looks without gain. Items that are
not in training have a vector that nothing has taught, and so no score.
"""

import copy
import sys
import time
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.model.sequential_recommender import SASRec
from recbole.utils import init_seed

from benchmarks.baselines.exchange import Export, Looks, arguments, finish, read_export


class Catalog:
    """All that the model asks of a RecBole data set: how many items there are, with 0 as padding."""

    def __init__(self, items: int) -> None:
        self.items = items

    def num(self, field: str) -> int:
        return self.items + 1


def padded(histories: list[list[int]], longest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, longest) RecBole's ids of the newest events, oldest first, then padding; (n,) how many there are."""
    shown = [history[-longest:] for history in histories]
    ids = torch.zeros((len(shown), longest), dtype=torch.long)
    for row, history in enumerate(shown):
        ids[row, : len(history)] = torch.tensor(history) + 1
    return ids, torch.tensor([len(history) for history in shown])


def train(export: Export, seed: int, settings: dict[str, Any]) -> tuple[SASRec, Looks, set[int]]:
    """The model with the weights of its best validation, and the items that training holds."""
    sys.argv = sys.argv[:1]  # RecBole reads settings from the command line
    own = {name: value for name, value in settings.items() if name not in ("epochs", "lr", "batch")}
    fixed = {"use_gpu": False, "train_neg_sample_args": None, "data_path": "."}
    config = Config(model="SASRec", dataset="export", config_dict={**fixed, **own})
    init_seed(seed, reproducibility=True)
    model = SASRec(config, Catalog(len(export.items)))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.get("lr", 1e-3))
    rows = [(items[:place], items[place]) for items in export.train.values() for place in range(1, len(items))]
    ids, lengths = padded([history for history, _ in rows], model.max_seq_length)
    targets = torch.tensor([target for _, target in rows]) + 1
    known = {item for items in export.train.values() for item in items}
    looks, best = Looks(export), {}
    for epoch in range(1, settings.get("epochs", 200) + 1):
        model.train()
        for batch in torch.randperm(len(rows)).split(settings.get("batch", 2048)):
            given = {model.ITEM_SEQ: ids[batch], model.ITEM_SEQ_LEN: lengths[batch], model.POS_ITEM_ID: targets[batch]}
            optimizer.zero_grad()
            model.calculate_loss(given).backward()
            optimizer.step()
        if looks.due(epoch):
            if looks.add(epoch, scores(model, export.valid.histories, known)):
                best = copy.deepcopy(model.state_dict())
            if looks.stuck:
                break
    model.load_state_dict(best)
    return model, looks, known


def scores(model: SASRec, histories: list[list[int]], known: set[int]) -> Any:
    """(n, items), NaN where an item was not in training."""
    found = []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(histories), 256):
            ids, lengths = padded(histories[start : start + 256], model.max_seq_length)
            asked = {model.ITEM_SEQ: ids, model.ITEM_SEQ_LEN: lengths}
            found.append(model.full_sort_predict(asked)[:, 1:].numpy())
    whole = np.concatenate(found)
    whole[:, [item for item in range(whole.shape[1]) if item not in known]] = np.nan
    return whole


def main() -> None:
    given = arguments(__doc__)
    torch.set_num_threads(1)
    export, began = read_export(given.cases), time.monotonic()
    model, looks, known = train(export, given.seed, given.settings)
    made = {"tool": "RecBole", "seed": given.seed, "settings": given.settings, "looks": looks.seen}
    made["seconds"] = round(time.monotonic() - began, 1)
    valid, test = (scores(model, part.histories, known) for part in (export.valid, export.test))
    finish(given.out, export, made, valid, test)


if __name__ == "__main__":
    main()
