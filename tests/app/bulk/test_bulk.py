"""Every kind of data set through a job in this process, with a predictor that repeats pixels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.bulk.entries import Failure, JobOptions, Unit
from app.bulk.job import Engine, Progress, run
from app.bulk.kinds import kind_of
from app.bulk.ledger import ATTEMPTS, Ledger, Record, UnitRef
from app.bulk.worker import Outcome, Task, Worker
from app.errors import StartupError
from app.imaging.encode import encode
from app.imaging.quality_gate import ALWAYS, DEFAULT_POLICY
from app.serving.loading import LoadedModel
from app.settings import Settings
from tests.app.conftest import png
from tests.app.fakes import FakeRuntime
from tests.app.imaging.test_quality_gate import HELPS_BLURRED, written

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("lmdb")
from tests.app.bulk.conftest import RGB_PNG, Job  # noqa: E402
from tests.app.bulk.sets import (  # noqa: E402
    PNGS,
    check,
    failures,
    read_folder,
    read_lmdb,
    read_tar,
    write_folder,
    write_lmdb,
    write_parquet,
    write_tar,
)

AUTO = JobOptions("png", "native", DEFAULT_POLICY, None)


def test_a_folder_becomes_the_same_folder_of_results(tmp_path: Path, job: Job) -> None:
    write_folder(tmp_path / "in", {f"{n[0]}/{n}.jpg.png": data for n, data in PNGS.items()} | {"a.txt": b"none"})
    assert job(unit_size=3) == 0
    answers = read_folder(tmp_path / "out")
    assert answers.keys() == {f"{n[0]}/{n}.jpg.png" for n in PNGS}
    for path, data in answers.items():
        check(data, Path(path).name[:2])


def test_a_webdataset_shard_keeps_its_order_and_all_other_members(tmp_path: Path, job: Job) -> None:
    members: dict[str, bytes] = {}
    for name, data in PNGS.items():
        members |= {f"x/{name}.png": data, f"x/{name}.cls": name.encode()}
    write_tar(tmp_path / "in" / "part.tar", members)
    write_tar(tmp_path / "in" / "more.tar.gz", {"00.png": PNGS["00"]})
    assert job(JobOptions("webp", "native", ALWAYS, None)) == 0
    answers = read_tar(tmp_path / "out" / "part.tar")
    assert [name for name, _ in answers] == [name.replace(".png", ".webp") for name in members]
    for name, data in answers:
        if name.endswith(".webp"):
            check(data, name[2:4])
        else:
            assert data == members[name]
    check(read_tar(tmp_path / "out" / "more.tar")[0][1], "00")


def test_only_the_named_pictures_of_a_tar_are_super_resolved(tmp_path: Path, job: Job) -> None:
    write_tar(tmp_path / "in" / "a.tar", {"00.lr.png": PNGS["00"], "00.hr.png": PNGS["01"]})
    assert job(JobOptions("png", "native", ALWAYS, "lr.png")) == 0
    (_, lr), (_, hr) = read_tar(tmp_path / "out" / "a.tar")
    check(lr, "00")
    assert hr == PNGS["01"]


def test_a_parquet_file_keeps_its_other_columns_and_gains_method_reason_and_error(
    tmp_path: Path, job: Job
) -> None:
    pictures = [*PNGS.values(), b"no picture", None]
    keys = [*PNGS, "bad", "none"]
    write_parquet(tmp_path / "in" / "a.parquet", image=pictures, key=keys, length=list(range(len(keys))))
    assert job() == 2
    table = pq.read_table(tmp_path / "out" / "a.parquet").to_pydict()
    assert table["key"] == keys
    assert table["length"] == list(range(len(keys)))
    for name, data in zip(keys[:-2], table["image"], strict=False):
        check(data, name)
    assert table["image"][-2:] == [None, None]
    assert table["telescope_method"] == ["super_resolved"] * len(PNGS) + [None, None]
    assert "not an image" in table["telescope_error"][-2]
    assert [(f["item"], f["code"]) for f in failures(tmp_path / "out")] == [
        ("bad", "undecodable_image"),
        ("none", "empty_body"),
    ]


def test_the_output_of_a_job_may_be_the_input_of_another(tmp_path: Path, job: Job) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", telescope_method=["enlarged"], image=[PNGS["00"]], key=["00"])
    assert job() == 0
    table = pq.read_table(tmp_path / "out" / "a.parquet").to_pydict()
    assert list(table) == ["image", "key", "telescope_method", "telescope_reason", "telescope_error"]
    assert table["telescope_method"] == ["super_resolved"]


def test_a_parquet_file_without_bytes_is_refused_with_its_columns(tmp_path: Path, job: Job) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", image=["00.png"], size=[1])
    with pytest.raises(StartupError, match=r"no column of bytes.*, but image \(string\), size \(int64\)"):
        job()


def test_a_hugging_face_picture_column_stays_a_struct(tmp_path: Path, job: Job) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", image=[{"bytes": PNGS["03"], "path": "03.png"}])
    assert job() == 0
    (picture,) = pq.read_table(tmp_path / "out" / "a.parquet")["image"].to_pylist()
    check(picture["bytes"], "03")
    assert picture["path"] == "03.png"


def test_textzoom_lmdbs_keep_their_keys_and_labels(tmp_path: Path, job: Job) -> None:
    for number, subset in enumerate(("train1", "test/easy")):
        entries = {"num-samples": b"5"}
        for i in range(1, 6):
            entries |= {f"label-{i:09d}": b"word", f"image_hr-{i:09d}": PNGS["19"]}
            entries[f"image_lr-{i:09d}"] = PNGS[f"{i + 5 * number:02d}"]
        write_lmdb(tmp_path / "in" / subset, entries)
    assert job(unit_size=4) == 0
    for number, subset in enumerate(("train1", "test/easy")):
        before, after = read_lmdb(tmp_path / "in" / subset), read_lmdb(tmp_path / "out" / subset)
        assert after.keys() == before.keys()
        for key, value in after.items():
            if key.startswith("image_lr-"):
                check(value, f"{int(key[-9:]) + 5 * number:02d}")
            else:
                assert value == before[key]
    assert not list((tmp_path / "out" / "_bulk" / "parts").iterdir())


def test_a_bad_picture_is_listed_and_spares_its_batch(tmp_path: Path, job: Job, runtime: FakeRuntime) -> None:
    cursed = {"cursed.png": png((255, 0, 77)), "broken.png": PNGS["00"][:60], "tiny.png": png(height=2)}
    write_folder(tmp_path / "in", {f"{n}.png": data for n, data in PNGS.items()} | cursed)
    runtime.fail_on = 77 / 255
    try:
        assert job() == 3
    finally:
        runtime.fail_on = None
    assert len(read_folder(tmp_path / "out")) == len(PNGS)
    assert {(f["item"], f["code"]) for f in failures(tmp_path / "out")} == {
        ("cursed.png", "inference_failed"),
        ("broken.png", "undecodable_image"),
        ("tiny.png", "image_too_small"),
    }


def test_a_picture_that_skips_the_network_is_recorded(
    tmp_path: Path, fake_store: Path, model: LoadedModel
) -> None:
    crops = {"sharp.png": written(height=50), "soft.png": written(sigma=3, height=40)}
    write_folder(tmp_path / "in", {name: encode(crop, "png") for name, crop in crops.items()})
    calibrated = replace(model, gate=HELPS_BLURRED)
    settings = Settings(model_store=fake_store)
    assert run(tmp_path / "in", tmp_path / "out", AUTO, settings, model=calibrated) == 0
    record = Ledger(tmp_path / "out").record(0)
    assert record
    assert record.enlarged == {"sharp": ["sharp.png"]}


def test_progress_estimates_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = Progress(weight=1000, done_weight=200, clock=lambda: now[0])
    for now[0] in (6.0, 12.0):
        progress.add(
            Outcome(UnitRef(0, 0, 100), Record("a", pictures=50, failed=[Failure("x", "empty_body", "")]))
        )
    assert capsys.readouterr().err.splitlines() == ["40.0 %  100 pictures at 8.3/s, 2 failed, 0:00:36 left"]


def test_batches_are_full_although_crops_have_several_windows(
    tmp_path: Path, job: Job, runtime: FakeRuntime
) -> None:
    write_folder(tmp_path / "in", {f"{i}.png": png(width=200) for i in range(20)})
    runtime.batches.clear()
    assert job() == 0
    assert set(runtime.batches[:-1]) == {4}


def test_a_damaged_shard_has_no_output_and_does_not_stop_the_job(tmp_path: Path, job: Job) -> None:
    write_tar(tmp_path / "in" / "a.tar", PNGS and {f"{n}.png": data for n, data in PNGS.items()})
    whole = (tmp_path / "in" / "a.tar").read_bytes()
    (tmp_path / "in" / "b.tar").write_bytes(whole[:3000])
    (tmp_path / "in" / "c.tar").write_bytes(whole)
    assert job() == 1
    assert read_folder(tmp_path / "out").keys() == {"a.tar", "c.tar"}
    (damaged,) = failures(tmp_path / "out")
    assert damaged["unit"] == "b.tar"
    assert damaged["code"] == "unit_not_done"
    (tmp_path / "in" / "b.tar").write_bytes(whole)
    assert job() == 0, "it is tried again"
    assert read_tar(tmp_path / "out" / "b.tar") == read_tar(tmp_path / "out" / "a.tar")


def test_a_finished_unit_is_never_run_again(tmp_path: Path, job: Job, runtime: FakeRuntime) -> None:
    write_folder(tmp_path / "in", {f"{n}.png": data for n, data in PNGS.items()})
    assert job(unit_size=5) == 0
    runtime.batches.clear()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    (tmp_path / "out" / "_bulk" / "done" / "0000002.json").unlink()
    assert job(unit_size=5) == 0
    assert len(runtime.batches) == 2  # one of four, one of one
    again = {p.name for p, at in written.items() if p.stat().st_mtime_ns != at}
    assert again == {f"{n:02d}.png" for n in range(10, 15)}


def test_a_unit_that_kills_its_workers_is_given_up(tmp_path: Path, fake_store: Path, model: LoadedModel) -> None:
    ledger = Ledger(tmp_path / "out")
    settings = Settings(model_store=fake_store)
    task = Task(tmp_path, ledger.output, "folder", RGB_PNG, settings, model.artefact.digest)
    with ledger.job({}, [Unit("bomb", 1, ("bomb.png",))]):
        (ref,) = ledger.refs()
        for _ in range(ATTEMPTS):
            ledger.begin(ref.number)  # and the worker is gone
        outcome = Worker(task, model).run(ref)
    assert outcome.record is None
    assert not outcome.fatal
    assert "died 3 times" in outcome.problem


def test_a_worker_with_another_model_stops_the_job(tmp_path: Path, fake_store: Path, model: LoadedModel) -> None:
    task = Task(tmp_path, tmp_path / "out", "folder", RGB_PNG, Settings(model_store=fake_store), "another")
    outcome = Worker(task, model).run(UnitRef(0, 0, 1))
    assert outcome.fatal
    assert "every machine must see the same model store" in outcome.problem


def test_another_job_is_kept_out_of_the_output(tmp_path: Path, job: Job) -> None:
    write_folder(tmp_path / "in", {"00.png": PNGS["00"]})
    assert job() == 0
    with pytest.raises(StartupError, match="begun with format 'png', not 'webp'"):
        job(JobOptions("webp", "native", ALWAYS, None))
    with (
        Ledger(tmp_path / "out").job({}, ()),
        pytest.raises(StartupError, match="Another job is writing"),
    ):
        job()


def test_an_output_folder_with_other_files_is_refused(tmp_path: Path, job: Job) -> None:
    write_folder(tmp_path / "in", {"00.png": PNGS["00"]})
    write_folder(tmp_path / "out", {"thesis.txt": b""})
    with pytest.raises(StartupError, match="holds something else"):
        job()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds nothing that is known"),
        ({"a.csv": b""}, "holds nothing that is known: no picture, and no .tar, "),
        ({"a.png": b"", "a.tar": b""}, "holds folder and tar; name one"),
        ({"a.png": b"", "a.jpg": b""}, "would both become a.png"),
    ],
)
def test_an_ambiguous_input_is_refused(tmp_path: Path, job: Job, files: dict[str, bytes], said: str) -> None:
    (tmp_path / "in").mkdir()
    write_folder(tmp_path / "in", files)
    with pytest.raises(StartupError, match=said):
        job()


def test_a_single_shard_is_done_once(tmp_path: Path, fake_store: Path, model: LoadedModel) -> None:
    write_tar(tmp_path / "a.tar", {"00.png": PNGS["00"]})
    write_parquet(tmp_path / "a.parquet", image=[PNGS["00"]])
    write_lmdb(tmp_path / "lmdb", {"image-1": PNGS["00"]})
    for shard in ("a.tar", "a.parquet", "lmdb/data.mdb"):
        output = tmp_path / f"out of {Path(shard).name}"
        assert run(tmp_path / shard, output, RGB_PNG, Settings(model_store=fake_store), model=model) == 0
        assert read_folder(output).keys() == {Path(shard).name}
        assert len(Ledger(output).done()) == 1


def test_linked_folders_are_walked_but_never_back(tmp_path: Path, job: Job) -> None:
    write_folder(tmp_path, {"elsewhere/00.png": PNGS["00"], "in/a/01.png": PNGS["01"], "in/b/02.png": PNGS["02"]})
    for name, target in {"c": "../elsewhere", "a/up": "..", "b/a": "../a", "a/b": "../b"}.items():
        (tmp_path / "in" / name).symlink_to(target)
    assert job() == 0
    done = read_folder(tmp_path / "out").keys()
    assert done == {"a/01.png", "a/b/02.png", "b/02.png", "b/a/01.png", "c/00.png"}


@pytest.mark.parametrize("wrong", [{"unit_size": 0}, {"unit_size": -1}, {"engine": Engine(workers=-1)}])
def test_a_job_of_no_units_or_workers_is_refused(tmp_path: Path, job: Job, wrong: dict[str, Any]) -> None:
    write_folder(tmp_path / "in", {"00.png": PNGS["00"]})
    with pytest.raises(StartupError, match="--unit-size must be at least 1, and --workers not negative"):
        job(**wrong)


def test_a_single_picture_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {"00.png": PNGS["00"]})
    with pytest.raises(StartupError, match=r"00\.png is one picture; use `text-telescope upscale`"):
        kind_of(tmp_path / "00.png")


def test_workers_on_a_machine_with_a_gpu_need_a_device(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_ray = pytest.importorskip("app.bulk.on_ray")
    monkeypatch.setattr(on_ray, "auto_order", lambda *_: (["torch", "openvino"], []))
    write_folder(tmp_path / "in", {"00.png": PNGS["00"]})
    with pytest.raises(StartupError, match="--workers needs --device gpu:0"):
        job(engine=Engine(workers=1))


def test_a_missing_cluster_is_reported_at_once(tmp_path: Path, job: Job) -> None:
    pytest.importorskip("ray")
    write_folder(tmp_path / "in", {"00.png": PNGS["00"]})
    with pytest.raises(StartupError, match=r"No Ray cluster answers at 127\.0\.0\.1:9"):
        job(engine=Engine(workers=1, address="127.0.0.1:9"))
