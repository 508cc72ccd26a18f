"""What is a key, where it is read from, and what is said of one that is wrong."""

import hmac
from pathlib import Path

import pytest

from app.__main__ import main
from app.errors import StartupError
from app.http.api_keys import identify, load_keys, new_key
from app.settings import Settings, load_settings

SHOP_KEY, SHOP = new_key("shop")
_, ADMIN = new_key("operator", admin=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"


def test_keys_come_from_the_file_and_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f"# who may\n\n{SHOP.entry()}  # since spring\n")
    monkeypatch.setenv("TELESCOPE_API_KEYS_FILE", str(file))
    monkeypatch.setenv("TELESCOPE_API_KEYS", f" {ADMIN.entry()} ,")
    assert load_keys(load_settings()) == (ADMIN, SHOP)
    assert ADMIN.admin
    assert not SHOP.admin


def test_without_either_there_are_none() -> None:
    assert load_keys(Settings()) == ()


def test_every_key_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(stored: bytes, presented: bytes) -> bool:
        compared.append(stored)
        return stored == presented

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for presented, found in [(SHOP_KEY, SHOP), ("tt_wrong", None), ("\xff", None)]:
        compared.clear()
        assert identify((SHOP, ADMIN), presented) == found
        assert compared == [SHOP.sha256, ADMIN.sha256]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no key"),
        ("# nobody yet\n", "holds no key"),
        (f"{SHOP.entry()}\n{SHOP_KEY}\n", "line 2 of .*name:sha256"),
        (f"shop:{SHOP_KEY}", "line 1 of .*name:sha256"),
        (f"{SHOP.entry()}:root", "line 1 of .*name:sha256"),
        (f"sh op:{SHOP.sha256.hex()}", "line 1 of .*name:sha256"),
        (f"{SHOP.entry()}\nshop:{'0' * 64}\n", "line 2 of .*names must differ"),
        (f"{SHOP.entry()}\nother:{SHOP.sha256.hex()}\n", "same hash"),
    ],
    ids=["empty", "comment", "bare key", "key as hash", "three fields", "space", "same name", "same hash"],
)
def test_a_wrong_line_is_named_but_never_shown(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(StartupError, match=says) as caught:
        load_keys(Settings(api_keys_file=file))
    assert SHOP_KEY not in str(caught.value)
    assert SHOP.sha256.hex() not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StartupError, match=r"TELESCOPE_API_KEYS_FILE \(.*cannot be read"):
            load_keys(Settings(api_keys_file=path))
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    with pytest.raises(StartupError, match="cannot be read"):
        load_keys(Settings(api_keys_file=tmp_path / "picture"))


def test_a_variable_that_arrives_empty_does_not_open_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELESCOPE_API_KEYS", "")
    with pytest.raises(StartupError, match="TELESCOPE_API_KEYS is set, but holds no key"):
        load_keys(load_settings())


@pytest.mark.parametrize("flags", [[], ["--admin"]])
def test_new_key_shows_the_key_and_prints_the_line_that_knows_it(
    flags: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-key", "shop", *flags]) == 0
    told = capsys.readouterr()
    key = told.err.splitlines()[-1]
    assert key not in told.out
    file.write_text(told.out)
    (stored,) = load_keys(Settings(api_keys_file=file))
    assert identify([stored], key) == stored
    assert (stored.name, stored.admin) == ("shop", bool(flags))


def test_two_keys_of_one_name_differ() -> None:
    assert new_key("shop")[0] != new_key("shop")[0]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é", "a" * 65, "a\n", "#"])
def test_a_name_that_could_forge_a_line_or_a_log_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-key", name]) == 2
    told = capsys.readouterr()
    assert "cannot be named" in told.err
    assert told.out == ""
