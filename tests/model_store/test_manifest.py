import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import InvalidManifest
from model_store.manifest import FileEntry, Manifest, Metric, PixelSpec

SPEC = PixelSpec(height=16, width=64, scale=2)


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "tbsrn",
        "version": 1,
        "pixels": SPEC,
        "files": {"onnx": (FileEntry("onnx/model.onnx", "0" * 64, 5),)},
        "training": {"pairs_seen": 3},
        "metrics": (Metric("psnr", 20.5, "dB", "val", "python -m x"),),
        "licence": "Apache-2.0",
        "git_commit": "abc",
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    return Manifest(**{**fields, **changes})


@given(
    version=st.integers(1, 10**6),
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True),
    training=st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans())),
)
def test_what_is_dumped_is_what_is_parsed(version: int, name: str, training: dict[str, Any]) -> None:
    written = manifest(version=version, name=name, training=training)
    assert Manifest.parse(written.dump()) == written


@pytest.mark.parametrize("lost", ["name", "version", "pixels", "files", "licence", "schema_version"])
def test_a_missing_field_is_named(lost: str) -> None:
    raw = json.loads(manifest().dump())
    del raw[lost]
    with pytest.raises(InvalidManifest, match=lost):
        Manifest.parse(json.dumps(raw))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "wrong shape"),
        ('{"schema_version": 99}', "schema 99"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidManifest, match=says):
        Manifest.parse(text)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret", "onnx/../../x", ""])
def test_a_file_outside_the_folder_is_refused(path: str) -> None:
    with pytest.raises(InvalidManifest, match="inside the version's folder"):
        FileEntry(path, "0" * 64, 1)


@pytest.mark.parametrize("changes", [{"name": "Not A Name"}, {"name": ""}, {"version": 0}])
def test_names_and_versions_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest):
        manifest(**changes)


@pytest.mark.parametrize("changes", [{"height": 0}, {"scale": -1}, {"channels": "BGR"}, {"low": 1.0, "high": 1.0}])
def test_a_pixel_spec_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest):
        PixelSpec(**{"height": 16, "width": 64, "scale": 2, **changes})
