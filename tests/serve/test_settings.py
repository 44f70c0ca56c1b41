"""What a service is told when it starts, and what it refuses to be."""

import pydantic
import pytest

from serve.settings import KEYS, Settings
from survey.errors import UsageError

KEY = "0123456789abcdef"


def test_a_service_for_others_needs_a_key_that_cannot_be_guessed(monkeypatch):
    with pytest.raises(UsageError, match=KEYS):
        Settings().read_keys()
    monkeypatch.setenv(KEYS, "secret")
    with pytest.raises(UsageError, match=r"1 of the keys .* 16") as refused:
        Settings().read_keys()
    assert "secret" not in str(refused.value)


def test_a_laptop_needs_none_and_takes_one(monkeypatch):
    assert Settings(laptop=True).read_keys() == ()
    monkeypatch.setenv(KEYS, KEY)
    assert Settings(laptop=True).read_keys() == (KEY,)


def test_keys_come_from_the_environment_and_a_file_each_once(monkeypatch, tmp_path):
    (tmp_path / "keys").write_text(f"{'a' * 16}\n\n  {KEY}\n")
    monkeypatch.setenv(KEYS, f"{KEY}, {'b' * 16} {'c' * 16}")
    assert Settings(key_file=tmp_path / "keys").read_keys() == ("a" * 16, KEY, "b" * 16, "c" * 16)
    with pytest.raises(UsageError, match=r"key_file: cannot read .*No such file"):
        Settings(key_file=tmp_path / "none").read_keys()


def test_a_mission_has_its_own_settings_over_those_of_all():
    settings = Settings(overrides=("search.period_max=6",), missions={"kepler": ("search.period_max=9",)})
    assert settings.read_config("kepler").search.period_max == 9
    assert settings.read_config("tess").search.period_max == settings.read_config().search.period_max == 6
    with pytest.raises(pydantic.ValidationError):
        Settings(missions={"gaia": ()})


def test_unknown_settings_and_those_that_contradict_are_refused():
    with pytest.raises(pydantic.ValidationError, match="sources"):
        Settings(sources="demo")
    with pytest.raises(pydantic.ValidationError, match="most_examiners, 1, is less than examiners, 3"):
        Settings(examiners=3, most_examiners=1)
    for bad in ({"upload_mb": 0}, {"jobs": 0}, {"queue": 0}, {"read_mb": 1}, {"wait_s": -1}):
        with pytest.raises(pydantic.ValidationError):
            Settings(**bad)


def test_a_laptop_is_known_under_its_own_names_only():
    assert Settings().allowed_hosts == ()
    assert set(Settings(laptop=True).allowed_hosts) == {"127.0.0.1", "localhost", "[::1]"}
    assert Settings(laptop=True, hosts=("here",)).allowed_hosts == ("here",)
