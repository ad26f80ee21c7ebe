"""Our SASRec on the same split, its lists handed in as files as those of other tools are.

    python -m benchmarks.baselines.our_sasrec RECIPE CASES OUT --seed 0 --settings '{"leave_out": 0.3}'

--settings: keys under `auxiliary:` of a recipe.
"""

from dataclasses import asdict

import numpy as np
import torch

from benchmarks.baselines.exchange import arguments, finish, read_export
from napo.evaluation.runs import open_data
from napo.training.auxiliary import AuxiliarySettings, train_sasrec


def main() -> None:
    given = arguments(__doc__, "recipe")
    torch.set_num_threads(1)
    _, prepared = open_data(given.recipe)
    export, settings = read_export(given.cases), AuxiliarySettings.model_validate(given.settings)
    trained = train_sasrec(
        prepared.split, settings, given.seed, cases=prepared.all_valid, lists=prepared.all_valid_lists
    )
    made = {"tool": "napo", "seed": given.seed, "settings": given.settings, "seconds": round(trained.seconds, 1)}
    made["looks"] = [asdict(look) for look in trained.validations]
    valid, test = (
        trained.model.scores([np.array(items, dtype=np.int64) for items in part.histories]).numpy()
        for part in (export.valid, export.test)
    )
    finish(given.out, export, made, valid, test)


if __name__ == "__main__":
    main()
