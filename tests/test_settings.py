import pytest
from pydantic import ValidationError

from napo.settings import Strict


class Settings(Strict):
    beta: float = 1.0


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="beta_"):
        Settings.model_validate({"beta_": 2.0})


def test_settings_do_not_change():
    settings = Settings(beta=2.0)
    with pytest.raises(ValidationError, match="frozen"):
        settings.beta = 3.0
