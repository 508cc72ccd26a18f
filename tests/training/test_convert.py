"""Published checkpoints in, ours out: recorded outputs, and every refusal by name."""

import argparse
import json
import pickle
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")
safetensors_numpy = pytest.importorskip("safetensors.numpy")

from training.__main__ import main  # noqa: E402 - after the skips
from training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from training.convert import import_telescope  # noqa: E402
from training.errors import CheckpointError, KeyMismatch, MissingExtra, UnreadableCheckpoint  # noqa: E402
from training.published import read_published  # noqa: E402
from training.tbsrn import TBSRN  # noqa: E402

TOLERANCE = 1e-4


@pytest.fixture
def start(shared_dir: Path) -> Path:
    return shared_dir / "checkpoints" / "tbsrn_start.safetensors"


@pytest.fixture
def tiny_weights() -> dict[str, np.ndarray]:
    paddle.seed(0)
    state: Mapping[str, Any] = TBSRN(blocks=1, hidden=2, stn=False).state_dict()
    return {name: value.numpy() for name, value in state.items()}


def as_pdparams(path: Path, weights: Mapping[str, object], *, prefix: str = "transform.") -> Path:
    path.write_bytes(pickle.dumps({f"{prefix}{name}": value for name, value in weights.items()}, protocol=4))
    return path


def sr_difference(network: TBSRN, recorded: Path) -> float:
    with np.load(recorded) as io, paddle.no_grad():
        return float(np.abs(network(paddle.to_tensor(io["lr"])).numpy() - io["sr"]).max())


@pytest.mark.slow
def test_paddleocr_s_outputs_are_reproduced(shared_dir: Path) -> None:
    network, dropped = import_telescope(read_published(shared_dir / "parity" / "paddleocr_tbsrn.pdparams"))
    assert dropped == 190
    assert sr_difference(network, shared_dir / "parity" / "paddleocr_io.npz") <= TOLERANCE


@pytest.mark.slow
def test_paddleocr_s_outputs_follow_from_its_dropout_too(shared_dir: Path) -> None:
    published = read_published(shared_dir / "parity" / "paddleocr_tbsrn.pdparams")
    network = TBSRN(dropout_mode="downscale_in_infer")
    weights: dict[str, Any] = {name: published.weights[name] for name in network.state_dict()}
    network.set_state_dict(weights)
    network.eval()
    assert sr_difference(network, shared_dir / "parity" / "paddleocr_io.npz") <= TOLERANCE


@pytest.mark.slow
def test_fudanocr_s_outputs_are_reproduced(start: Path) -> None:
    network, _ = import_telescope(read_published(start))
    assert sr_difference(network, start.with_name("tbsrn_start_io.npz")) <= TOLERANCE


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pth_gives_the_same_network_as_its_safetensors(
    start: Path, tmp_path: Path, wrapped: bool, prefix: str
) -> None:
    torch = pytest.importorskip("torch")
    tensors = {
        f"{prefix}{name}": torch.from_numpy(value) for name, value in safetensors_numpy.load_file(start).items()
    }
    extras = {"info": {"arch": "tbsrn"}, "best_history_res": {"psnr": np.float64(20.1)}}
    torch.save({"state_dict_G": tensors, **extras} if wrapped else tensors, tmp_path / "model.pth")
    ours = import_telescope(read_published(tmp_path / "model.pth"))[0].state_dict()
    for name, value in import_telescope(read_published(start))[0].state_dict().items():
        np.testing.assert_array_equal(ours[name].numpy(), value.numpy())


def test_the_command_writes_a_checkpoint_and_counts_what_it_dropped(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ours.safetensors"
    assert main(["import-weights", str(start), str(out)]) == 0
    assert "dropped 139 arrays" in capsys.readouterr().out
    assert load_checkpoint(out).architecture["stn"] is True


def test_every_key_of_a_full_paddleocr_checkpoint_has_a_place(shared_dir: Path, tmp_path: Path) -> None:
    shapes = json.loads((shared_dir / "parity" / "paddleocr_state_dict.json").read_text())
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    path = as_pdparams(tmp_path / "full.pdparams", {**zeros, "StructuredToParameterName@@": {}}, prefix="")
    published = read_published(path)
    import_telescope(published)
    assert published.recogniser["encoder.cnn.conv1.weight"].shape == (64, 1, 3, 3)
    assert len(published.recogniser) + len(published.telescope) == 611


def test_paddleocr_s_factor_goes_into_the_weights_and_not_the_biases(
    tiny_weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = as_pdparams(tmp_path / "a.pdparams", tiny_weights)
    ours = {name: value.numpy() for name, value in import_telescope(read_published(path))[0].state_dict().items()}
    changed = {name for name, value in ours.items() if not np.array_equal(value, tiny_weights[name])}
    enhancer = "block2.feature_enhancer"
    assert changed == {f"{enhancer}.multihead.linears.3.weight", f"{enhancer}.pff.w_2.weight"}
    for name in changed:
        np.testing.assert_allclose(ours[name], 0.9 * tiny_weights[name], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block2.extra.weight": np.zeros(2)}, "1 unknown: block2.extra.weight"),
        ({"block3.0.bias": None}, "1 missing: block3.0.bias"),
        ({"block2.bn1.bias": np.zeros(5)}, r"1 misshapen: block2.bn1.bias \(5,\), should be \(4,\)"),
    ],
)
def test_keys_that_do_not_fit_are_listed_by_name(
    tiny_weights: dict[str, np.ndarray], tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    weights = {name: value for name, value in {**tiny_weights, **change}.items() if value is not None}
    with pytest.raises(KeyMismatch, match=message):
        import_telescope(read_published(as_pdparams(tmp_path / "a.pdparams", weights)))


def as_by_numpy_1(path: Path) -> None:
    """Give numpy's functions in a .pth the module names of numpy 1."""
    data = path.read_bytes()
    if data[:2] != b"PK":  # the form before PyTorch 1.6, one pickle after the other
        path.write_bytes(data.replace(b"cnumpy._core.", b"cnumpy.core."))
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"cnumpy._core.", b"cnumpy.core."))


SCALARS = [np.dtype(code).type(1) for code in "?bhilqBHILQefdgFDG"]
BESIDE = {
    "epoch": np.int64(7),
    "best": {"psnr": np.float64(20.1), "all": SCALARS, "name": np.str_("easy"), "at": np.datetime64("2020-01-01")},
    "args": argparse.Namespace(lr=0.1, out="runs/a"),
    "random_state": ("MT19937", np.arange(624, dtype=np.uint32), 3),
}


@pytest.mark.parametrize("rewrite", [as_by_numpy_1, lambda path: None], ids=["numpy 1", "numpy 2"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("nested", ["state_dict_G", "state_dict", "model", None])
def test_a_pth_with_numbers_and_an_optimizer_beside_the_weights_is_read(
    tmp_path: Path,
    tiny_weights: dict[str, np.ndarray],
    rewrite: Callable[[Path], None],
    zipped: bool,
    nested: str | None,
) -> None:
    torch = pytest.importorskip("torch")
    parameters = {f"module.module.{n}": torch.nn.Parameter(torch.tensor(w)) for n, w in tiny_weights.items()}
    optimizer = torch.optim.Adam(parameters.values())
    sum(parameter.sum() for parameter in parameters.values()).backward()
    optimizer.step()
    content = {**({nested: parameters} if nested else parameters), **BESIDE, "optimizer": optimizer.state_dict()}
    path = tmp_path / "a.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    rewrite(path)
    published = read_published(path)
    assert published.beside == ("args", "best", "epoch", "optimizer", "random_state")
    assert published.weights.keys() == tiny_weights.keys()
    for name, value in published.weights.items():
        np.testing.assert_array_equal(value, parameters[f"module.module.{name}"].detach().numpy())


def test_a_pdparams_may_hold_numbers_of_numpy_1(tmp_path: Path, tiny_weights: dict[str, np.ndarray]) -> None:
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({**tiny_weights, **BESIDE}, protocol=2).replace(b"numpy._core.", b"numpy.core."))
    published = read_published(path)
    assert published.weights.keys() == tiny_weights.keys()
    assert published.beside == ("args", "best", "epoch", "random_state")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_refused_pth_names_everything_that_it_asks_for(tmp_path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    content = {"a": torch.zeros(1), "evil": Malicious(tmp_path / "flag"), "level": re.compile("a")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnreadableCheckpoint) as refused:
        read_published(tmp_path / "evil.pth")
    message = str(refused.value)
    named = "pathlib.Path.touch|pathlib._local.Path.touch|getattr"
    assert re.search(f"it asks for .*({named}).*, and only arrays and numbers are allowed$", message)
    assert ("re._compile" in message) == zipped  # the older form is read until the first name
    assert "\x1b" not in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("dtype", ["O", [("a", "i4")]])
def test_a_pth_with_objects_or_records_is_refused(tmp_path: Path, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(1), "b": np.zeros(2, dtype)}, tmp_path / "a.pth")
    with pytest.raises(UnreadableCheckpoint, match=r"it asks for numpy.dtypes.(Object|Void)DType, and only"):
        read_published(tmp_path / "a.pth")


def test_a_file_without_arrays_says_which_keys_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({"epoch": 3, "lr": 0.1}))
    with pytest.raises(UnreadableCheckpoint, match="holds only epoch, lr, and no named arrays"):
        read_published(tmp_path / "a.pdparams")


class Malicious:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.flag,)


@pytest.mark.parametrize("suffix", [".pdparams", ".pth"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, suffix: str) -> None:
    path, flag = tmp_path / f"evil{suffix}", tmp_path / "flag"
    payload = {"transform.block1.0.bias": Malicious(flag)}
    if suffix == ".pth":
        pytest.importorskip("torch").save(payload, path)
    else:
        path.write_bytes(pickle.dumps(payload))
    with pytest.raises(UnreadableCheckpoint, match="cannot be read"):
        read_published(path)
    assert not flag.exists()


@pytest.mark.parametrize("suffix", [".pdparams", ".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\x80\x04"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    if suffix == ".pth":
        pytest.importorskip("torch")
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match=re.escape(str(path))):
        read_published(path)


@pytest.mark.parametrize("suffix", [".pdparams", ".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html>\n<html><title>404</title></html>", "a web page"),
    ],
)
def test_a_failed_download_is_named(tmp_path: Path, suffix: str, content: bytes, found: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match=f"holds {found}.* in the place of the weights"):
        read_published(path)


def test_a_sparse_tensor_is_refused_in_one_sentence(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "a.pth")
    with pytest.raises(UnreadableCheckpoint, match=r"a\.pth cannot be read as \.pth: can't convert Sparse"):
        read_published(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [[1, 2], {"a": "text"}, {}, {"a": np.array([object()])}])
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "model.pdparams"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UnreadableCheckpoint):
        read_published(path)


def test_a_truncated_file_is_refused(tiny_weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = as_pdparams(tmp_path / "cut.pdparams", tiny_weights)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableCheckpoint, match=r"cut\.pdparams"):
        read_published(path)


@pytest.mark.parametrize("name", ["model.bin", "absent.pth"])
def test_a_file_of_no_known_kind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableCheckpoint, match=name):
        read_published(tmp_path / name)


def test_a_pth_without_torch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "model.pth").write_bytes(b"any")
    with pytest.raises(MissingExtra, match=r"package torch, which is not installed.*\[torch\]"):
        read_published(tmp_path / "model.pth")


def test_a_refusal_is_one_sentence_on_stderr_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-weights", str(tmp_path / "absent.pth"), str(tmp_path / "out.safetensors")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_command_without_its_library_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "training.onnx_form", raising=False)
    monkeypatch.delitem(sys.modules, "training.export", raising=False)
    monkeypatch.setitem(sys.modules, "paddle2onnx", None)
    assert main(["export", "--weights", "any", "--out", "any"]) == 2
    assert capsys.readouterr().err == (
        "export: this command needs the package paddle2onnx, which is not installed; "
        "run: pip install 'text-telescope[train]'.\n"
    )


def test_a_checkpoint_gives_back_its_network_and_equal_ones_have_equal_bytes(tmp_path: Path) -> None:
    network = TBSRN(blocks=2, hidden=4, height=32, width=32, dropout_mode="downscale_in_infer")
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, network, source={"run": "x", "step": 7})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = load_checkpoint(tmp_path / "a")
    assert loaded.architecture == network.architecture
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name].numpy(), value.numpy())


def test_our_own_checkpoint_needs_no_import(tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    save_checkpoint(path, TBSRN(blocks=1, hidden=2), source={})
    with pytest.raises(UnreadableCheckpoint, match="already"):
        read_published(path)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (None, "import-weights"),
        ("{", "import-weights"),
        ({"version": 2}, "version 2"),
        ({"architecture": {"scale": 3}}, "scale must be"),
        ({"architecture": {"depth": 3}}, "depth"),
        ({"architecture": {"blocks": 1}}, "missing"),
    ],
)
def test_a_file_that_is_not_our_checkpoint_is_refused(tmp_path: Path, about: object, message: str) -> None:
    path = tmp_path / "x.safetensors"
    good = {"format": "text-telescope-checkpoint", "version": 1, "architecture": {}, "source": {}}
    text = json.dumps({**good, **about}) if isinstance(about, dict) else about
    safetensors_numpy.save_file(
        {"a": np.zeros(1)}, path, metadata=None if text is None else {"text_telescope": str(text)}
    )
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)
