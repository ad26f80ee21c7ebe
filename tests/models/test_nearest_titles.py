import numpy as np
import pytest

from napo.models import nearest_titles as module
from napo.models.nearest_titles import NearestTitles

TITLES = ["Alien", "Aliens", "Heat (1995)", "The Heat"]


def test_spelling_by_hand():
    # letters put in or taken out, over the letters of both: Aliens to Alien 1 of 11; `Hea` to The Heat 5 of 11
    alike = NearestTitles(TITLES).likeness(["Alien", "Hea"])
    np.testing.assert_allclose(alike[0, :2], [1.0, 1 - 1 / 11], atol=1e-6)
    np.testing.assert_allclose(alike[1, 3], 1 - 5 / 11, atol=1e-6)
    assert alike.shape == (2, 4)


@pytest.mark.parametrize("text", ["Heat (1995)", "HEAT (1995)", "  heat   (1995) ", "\uff28eat (1995)"])
def test_a_title_is_nearest_to_itself_whatever_its_case_blanks_and_letter_forms(text):
    alike = NearestTitles(TITLES).likeness([text])[0]
    assert alike.argmax() == 2
    assert alike[2] == 1.0
    assert (np.delete(alike, 2) < 1).all()


def test_what_is_misquoted_is_nearest_to_what_was_meant():
    texts = ["Alein", "Heat (1996)", "the heat!"]
    assert NearestTitles(TITLES).likeness(texts).argmax(axis=1).tolist() == [0, 2, 3]


class Circle:
    """Vectors by the first letter: H stands apart; case makes no difference."""

    def __init__(self, name: str) -> None:
        assert name == "some-embedder"

    def texts(self, texts):
        return np.array([[1.0, 0.0] if text[:1].lower() == "h" else [0.6, 0.8] for text in texts], dtype=np.float32)

    titles = texts


def test_an_embedder_compares_by_cosine_and_knows_a_title_itself(monkeypatch):
    monkeypatch.setattr(module, "Embedder", Circle)
    alike = NearestTitles(TITLES, "some-embedder").likeness(["aliens", "Hot"])
    # all that begins with another letter than h has one vector: the title itself alone is at 1
    np.testing.assert_allclose(alike, [[1, 1, 0.6, 1], [0.6, 0.6, 1, 0.6]], atol=1e-5)
    assert alike[0].argmax() == 1
    assert (alike[0] == 1).sum() == 1
