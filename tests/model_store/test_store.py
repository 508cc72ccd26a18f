import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from model_store import BUNDLED
from model_store.errors import DigestMismatch, InvalidManifest, ModelNotFound, VersionExists
from model_store.manifest import PixelSpec
from model_store.store import Artefact, ModelStore


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    for path, text in {
        "onnx/model.onnx": "graph",
        "paddle/inference.json": "{}",
        "MODEL_CARD.md": "# Card",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store")


def publish(store: ModelStore, staging: Path, **changes: Any) -> Artefact:
    fields: dict[str, Any] = {
        "name": "tbsrn",
        "pixels": PixelSpec(16, 64, 2),
        "training": {},
        "metrics": [],
        "licence": "Apache-2.0",
        "git_commit": "abc",
    }
    return store.publish(staging, **{**fields, **changes})


def test_versions_count_up_and_a_bare_name_means_the_newest(store: ModelStore, staging: Path) -> None:
    for version in range(1, 11):
        assert publish(store, staging).manifest.version == version
    assert store.resolve("tbsrn").manifest.version == 10
    assert store.resolve("tbsrn:2").manifest.version == 2
    assert [a.manifest.version for a in store.artefacts()] == list(range(1, 11))


def test_files_are_grouped_and_verified(store: ModelStore, staging: Path) -> None:
    artefact = publish(store, staging)
    assert sorted(artefact.manifest.files) == ["docs", "onnx", "paddle"]
    (path,) = artefact.files("onnx")
    assert path.read_text() == "graph"
    assert len(artefact.digest) == 64


@pytest.mark.parametrize("change", ["graqh", "graph and more", None])
def test_a_tampered_or_missing_file_is_named(store: ModelStore, staging: Path, change: str | None) -> None:
    artefact = publish(store, staging)
    path = artefact.path / "onnx" / "model.onnx"
    path.unlink() if change is None else path.write_text(change)
    with pytest.raises(DigestMismatch, match=r"onnx/model\.onnx"):
        artefact.files("onnx")
    assert artefact.files("paddle")


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("other", "holds tbsrn"),
        ("tbsrn:7", "only 1"),
        ("tbsrn:", "no version ''"),
        ("tbsrn:one", "no version 'one'"),
        ("tbsrn:²", "no version"),
        ("../store/tbsrn", "is not in"),
        ("", "is not in"),
    ],
)
def test_an_unknown_model_is_told_what_there_is(store: ModelStore, staging: Path, ref: str, says: str) -> None:
    publish(store, staging)
    with pytest.raises(ModelNotFound, match=says):
        store.resolve(ref)


def test_an_empty_store_says_so(store: ModelStore) -> None:
    with pytest.raises(ModelNotFound, match="holds no models"):
        store.resolve("tbsrn")
    assert store.artefacts() == []


def test_a_kind_that_was_not_published_is_named(store: ModelStore, staging: Path) -> None:
    with pytest.raises(ModelNotFound, match="'weights'"):
        publish(store, staging).files("weights")


def test_a_damaged_manifest_is_named(store: ModelStore, staging: Path) -> None:
    artefact = publish(store, staging)
    (artefact.path / "manifest.json").write_text("{")
    with pytest.raises(InvalidManifest, match=r"manifest\.json"):
        store.resolve("tbsrn")


def test_a_published_version_is_never_overwritten(store: ModelStore, staging: Path) -> None:
    first = publish(store, staging)
    (staging / "onnx" / "model.onnx").write_text("another")
    with pytest.raises(VersionExists):
        publish(store, staging, version=1)
    assert first.files("onnx")[0].read_text() == "graph"
    assert [p.name for p in first.path.parent.iterdir()] == ["1"]


def test_a_bad_name_is_refused_before_anything_is_written(store: ModelStore, staging: Path) -> None:
    with pytest.raises(InvalidManifest):
        publish(store, staging, name="../escape")
    assert not store.root.exists()


KILLED_WHILE_COPYING = """
import shutil, sys, time
from pathlib import Path
from model_store.manifest import PixelSpec
from model_store.store import ModelStore
real = shutil.copyfile
def slow(source, target):
    real(source, target)
    print("copied", flush=True)
    time.sleep(60)
shutil.copyfile = slow
ModelStore(Path(sys.argv[1])).publish(
    Path(sys.argv[2]), name="tbsrn", pixels=PixelSpec(16, 64, 2),
    training={}, metrics=[], licence="", git_commit="",
)
"""


def test_a_publisher_killed_halfway_leaves_the_old_state(store: ModelStore, staging: Path) -> None:
    old = publish(store, staging)
    publisher = subprocess.Popen(
        [sys.executable, "-c", KILLED_WHILE_COPYING, str(store.root), str(staging)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert publisher.stdout
    assert publisher.stdout.readline() == "copied\n"
    publisher.send_signal(signal.SIGKILL)
    publisher.wait()
    publisher.stdout.close()
    assert [a.manifest.ref for a in store.artefacts()] == ["tbsrn:1"]
    assert store.resolve("tbsrn").digest == old.digest
    assert len(list(old.path.parent.iterdir())) == 2  # the unfinished folder
    assert publish(store, staging).manifest.version == 2
    assert sorted(p.name for p in old.path.parent.iterdir()) == ["1", "2"]  # and it is gone


def test_a_publisher_that_fails_leaves_nothing_behind(
    store: ModelStore, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", no_space)
    with pytest.raises(OSError, match="No space left"):
        publish(store, staging)
    assert list((store.root / "tbsrn").iterdir()) == []


def test_a_manifest_is_plain_json_that_others_can_read(store: ModelStore, staging: Path) -> None:
    artefact = publish(store, staging)
    raw = json.loads((artefact.path / "manifest.json").read_text())
    assert raw["files"]["onnx"][0]["bytes"] == 5
    assert time.strptime(raw["created_at"][:19], "%Y-%m-%dT%H:%M:%S")


def test_a_manifest_in_anothers_folder_is_refused(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED / "tbsrn" / "1", tmp_path / "tbsrn" / "2")
    with pytest.raises(InvalidManifest, match=r"describes tbsrn:1, not its own folder"):
        ModelStore(tmp_path).resolve("tbsrn")
