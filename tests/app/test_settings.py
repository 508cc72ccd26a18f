import pytest

from app.__main__ import main
from app.errors import StartupError
from app.settings import Settings, load_settings
from tests.conftest import REPOSITORY


def test_the_environment_is_read_with_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELESCOPE_PORT", "9001")
    monkeypatch.setenv("TELESCOPE_BATCH_SIZES", "8,1,2")
    settings = load_settings()
    assert settings.port == 9001
    assert settings.batch_sizes == (1, 2, 8)


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELESCOPE_PORT", "9001")
    assert load_settings(port=9002).port == 9002


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "70000", "TELESCOPE_PORT is '70000'"),
        ("PORT", "http", "TELESCOPE_PORT"),
        ("RUNTIME", "tensorflow", "'auto', 'paddle', 'openvino', 'onnx' or 'torch'"),
        ("DEVICE", "cuda", "TELESCOPE_DEVICE"),
        ("MODEL", "", "TELESCOPE_MODEL"),
        ("MODEL", "tbsrn, ", "TELESCOPE_MODEL"),
        ("BATCH_SIZES", "2,4", "include 1, for example 1,2,4,8,16"),
        ("BATCH_SIZES", "1,two", "TELESCOPE_BATCH_SIZES"),
        ("BATCH_SIZE", "1", "is TELESCOPE_BATCH_SIZES meant"),
        ("PROCESSES", "2", "no setting any more; run replicas"),
        ("MAX_IMAGES", "9000", "max_queue_windows"),
        ("MAX_REQUEST_BYTES", "999999999", "max_upload_bytes"),
        ("HOST", "", "TELESCOPE_HOST"),
        ("ADMIN_PORT", "8000", "must differ from port"),
        ("CORS_ORIGINS", "*", "TELESCOPE_CORS_ORIGINS"),
        ("CORS_ORIGINS", "https://a.example,https://b.example/", "TELESCOPE_CORS_ORIGINS"),
        ("KEY_RATE_PER_S", "nan", "TELESCOPE_KEY_RATE_PER_S"),
    ],
)
def test_a_bad_value_is_named_with_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"TELESCOPE_{name}", value)
    with pytest.raises(StartupError, match=says):
        load_settings()


def test_every_setting_says_what_it_does() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_the_documents_list_every_setting_as_the_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    assert capsys.readouterr().out in (REPOSITORY / "docs" / "architecture.md").read_text()
