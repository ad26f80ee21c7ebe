import pytest
import torch

from napo.errors import UserError
from napo.models.policy import dropout
from napo.models.pretrained import weights_digest
from napo.objectives import sdpo
from napo.training.batches import TrainingBatches
from napo.training.module import PreferenceModule
from napo.training.reference import reference_log_probs
from tests.tiny_world import World

MADE_BY = {"weights": "w", "seed": 0, "limits": [50, 512]}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World.of(tmp_path_factory.mktemp("world"), objective={"name": "sdpo"})


class Counted(PreferenceModule):
    """Counts how often it is asked."""

    asked = 0

    def scored(self, batch):
        self.asked += 1
        return super().scored(batch)


def made(world: World) -> tuple[Counted, TrainingBatches]:
    language = world.language
    return Counted(
        language.policy, sdpo.Objective(sdpo.Settings()), language.tree, "catalog"
    ), world.preference().batches


def test_each_items_log_probs_are_made_once_and_kept(world, tmp_path):
    module, batches = made(world)
    done = []
    path = tmp_path / "reference.safetensors"
    first = reference_log_probs(module, batches, path, MADE_BY, lambda *step: done.append(step))
    assert (module.asked, len(first)) == (8, 8)
    assert done[-1] == (8, 8)
    again = reference_log_probs(module, batches, path, MADE_BY)
    assert module.asked == 8
    for step, value in enumerate(again):
        torch.testing.assert_close(value, first[step], rtol=0, atol=0)
        with torch.no_grad():
            torch.testing.assert_close(value, module.scored(batches[step]).policy)
        assert not value.requires_grad


def test_what_was_made_by_other_things_is_refused_and_stays(world, tmp_path):
    module, batches = made(world)
    path = tmp_path / "reference.safetensors"
    reference_log_probs(module, batches, path, MADE_BY)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"other settings: seed, weights differ") as refused:
        reference_log_probs(module, batches, path, {**MADE_BY, "seed": 1, "weights": "v"})
    assert refused.value.where == str(path)
    with pytest.raises(UserError, match="other settings: epochs, limits differ"):
        reference_log_probs(module, batches, path, {"weights": "w", "seed": 0, "epochs": 1})
    with pytest.raises(UserError, match="other settings: mixed differ"):
        reference_log_probs(module, batches, path, MADE_BY, mixed=True)
    assert path.read_bytes() == before
    # tuples and paths are what JSON makes of them
    reference_log_probs(module, batches, path, {**MADE_BY, "limits": (50, 512)})


def test_a_file_cut_short_is_a_users_mistake_with_a_remedy(world, tmp_path):
    module, batches = made(world)
    path = tmp_path / "reference.safetensors"
    reference_log_probs(module, batches, path, MADE_BY)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="can't be read") as refused:
        reference_log_probs(module, batches, path, MADE_BY)
    assert "delete the file" in refused.value.remedy


def test_it_is_made_without_dropout_and_the_mode_is_put_back(world, tmp_path):
    module, batches = made(world)
    plain = reference_log_probs(module.eval(), batches, tmp_path / "plain", MADE_BY)
    assert not module.training
    with dropout(world.language.model, embedding=0.5, block=0.5):
        dropped = reference_log_probs(module.train(), batches, tmp_path / "dropped", MADE_BY)
        assert module.training
        noisy = module.scored(batches[0]).policy
    assert (noisy - plain[0]).abs().max() > 1e-3
    for one, other in zip(plain, dropped, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_digest_is_of_names_and_values():
    def model(value: float, name: str = "a") -> torch.nn.Module:
        holder = torch.nn.Module()
        holder.register_parameter(name, torch.nn.Parameter(torch.full((3,), value, dtype=torch.bfloat16)))
        holder.register_buffer("scale", torch.tensor(2.0))  # 0-d
        holder.register_buffer("nothing", torch.empty(0))
        return holder

    assert weights_digest(model(1.0)) == weights_digest(model(1.0))
    assert len({weights_digest(model(1.0)), weights_digest(model(1.5)), weights_digest(model(1.0, "b"))}) == 3


def test_ranks_have_their_own_items(world, tmp_path):
    module, batches = made(world)
    shared = TrainingBatches(batches.settings, batches.plan, ranks=2)
    alone = reference_log_probs(module, batches, tmp_path / "one", MADE_BY)
    dealt = reference_log_probs(module, shared, tmp_path / "two", MADE_BY)
    assert len(dealt) == 16
    for step in range(8):
        together = torch.cat(dealt[2 * step : 2 * step + 2])
        torch.testing.assert_close(together, alone[step])
    with pytest.raises(UserError, match="ranks differ"):
        reference_log_probs(module, shared, tmp_path / "one", MADE_BY)
