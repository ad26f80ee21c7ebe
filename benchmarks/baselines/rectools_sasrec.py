"""RecTools' SASRec on the exported cases. Runs in an environment of its own: rectools-requirements.txt.

    python -m benchmarks.baselines.rectools_sasrec CASES OUT --seed 0 --settings '{"n_factors": 128}'

The weights of the best validation NDCG among 20 candidates are kept, looked at every five epochs; training stops after
six looks without gain: the rule that our SASRec is trained by. RecTools trains on the newest `session_max_len` + 1
events of a user. Items that are not in training have no score.
"""

import copy
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.baselines.exchange import Export, Looks, arguments, finish, read_export


class KeepBest(Callback):
    """Looks at validation after an epoch, keeps the best weights, stops where nothing is gained."""

    def __init__(self, export: Export) -> None:
        self.looks, self.model = Looks(export), None
        self.best: dict[str, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeepBest":
        return self  # RecTools trains with a copy of its trainer, and what is kept would be lost with it

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, net, export = trainer.current_epoch + 1, pl_module.torch_model, self.looks.export
        if not self.looks.due(epoch):
            return
        if self.looks.add(epoch, scores(self.model, export.valid.histories, len(export.items))):
            self.best = copy.deepcopy(net.state_dict())
        net.train()
        trainer.should_stop = self.looks.stuck


def train(export: Export, seed: int, settings: dict[str, Any]) -> tuple[SASRecModel, KeepBest]:
    """The model with the weights of its best validation."""
    seed_everything(seed, verbose=False)
    keep = KeepBest(export)
    model = SASRecModel(
        **{name: value for name, value in settings.items() if name != "epochs"},
        get_trainer_func=lambda: Trainer(
            max_epochs=settings.get("epochs", 200),
            accelerator="cpu",
            devices=1,
            callbacks=[keep],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ),
    )
    keep.model = model
    rows = [(user, item, 1.0, when) for user, items in export.train.items() for when, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime])
    frame[Columns.Datetime] = pd.to_datetime(frame[Columns.Datetime], unit="s")  # the order is all that is read
    model.fit(Dataset.construct(frame))
    model.torch_model.load_state_dict(keep.best)
    return model, keep


def scores(model: SASRecModel, histories: list[list[int]], items: int) -> Any:
    """(n, items), NaN where an item was not in training."""
    net, prepared = model.torch_model.eval(), model.data_preparator
    known = prepared.get_known_item_ids().astype(int)
    internal = np.zeros(items, dtype=np.int64)
    internal[known] = prepared.get_known_items_sorted_internal_ids()
    longest = model.session_max_len
    found = np.full((len(histories), items), np.nan, dtype=np.float32)
    for start in range(0, len(histories), 256):
        part = histories[start : start + 256]
        shown = np.zeros((len(part), longest), dtype=np.int64)
        for row, history in enumerate(part):
            ids = internal[history]
            ids = ids[ids > 0][-longest:]
            shown[row, longest - len(ids) :] = ids
        with torch.no_grad():
            vectors = net.item_model.get_all_embeddings()
            users = net.encode_sessions({"x": torch.from_numpy(shown)}, vectors)[:, -1]
            found[start : start + len(part)][:, known] = (users @ vectors.T)[:, internal[known]].numpy()
    return found


def main() -> None:
    given = arguments(__doc__)
    torch.set_num_threads(1)
    export, began = read_export(given.cases), time.monotonic()
    model, keep = train(export, given.seed, given.settings)
    made = {"tool": "RecTools", "seed": given.seed, "settings": given.settings, "looks": keep.looks.seen}
    made["seconds"] = round(time.monotonic() - began, 1)
    valid, test = (scores(model, part.histories, len(export.items)) for part in (export.valid, export.test))
    finish(given.out, export, made, valid, test)


if __name__ == "__main__":
    main()
