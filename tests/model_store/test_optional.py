"""Packages that may be missing or broken: one sentence, and none of our own mistakes hidden."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from model_store.optional import optional


class Refused(Exception):
    pass


def sentence(monkeypatch: pytest.MonkeyPatch, folder: Path, **modules: str) -> str:
    """The error of importing `training_of_it`, one of these modules, as if it were ours."""
    monkeypatch.setattr("model_store.optional.OURS", {"tests", "our_module", "model_store"})
    monkeypatch.syspath_prepend(folder)
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(Refused) as refused, optional("--fast", extra="speed", error=Refused):
        import_module("our_module")
    return str(refused.value)


RAISED = {
    "raise ImportError('libcuda.so.1: no such file')": "ImportError: libcuda.so.1: no such file",
    "raise OSError('cannot open\\nsecond line')": "OSError: cannot open",
    "raise SystemError('built for another Python')": "SystemError: built for another Python",
    "{}['HOME']": "KeyError: 'HOME'",
    "raise SystemExit('go away')": "SystemExit: go away",
    "raise RuntimeError": "RuntimeError: RuntimeError",
    "import no_such_package": "ModuleNotFoundError: No module named 'no_such_package'",
    "class Panic(BaseException): pass\nraise Panic('in Rust')": "Panic: in Rust",
}


@pytest.mark.parametrize("code", RAISED)
def test_a_broken_package_is_named_with_its_own_error(
    code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = sentence(monkeypatch, tmp_path, our_module="import fast_package", fast_package=code)
    assert found == (
        f"--fast needs the package fast_package, which is installed but cannot be loaded ({RAISED[code]}); "
        "add the library that it lacks, or reinstall it: pip install --force-reinstall 'text-telescope[speed]'."
    )


def test_of_packages_that_import_each_other_the_broken_one_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    modules = {"our_module": "import board_package", "board_package": "import fast_package"}
    found = sentence(monkeypatch, tmp_path, **modules, fast_package="raise OSError('libgomp.so.1')")
    assert "needs the package fast_package, which is installed but cannot be loaded (OSError: libgomp" in found
    for name in ("board_package", "our_module"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(Refused) as refused, optional("--fast", "board_package", extra="speed", error=Refused):
        import_module("board_package")
    assert "board_package, which is installed but cannot be loaded (OSError in fast_package: lib" in str(
        refused.value
    )


@pytest.mark.parametrize("use", ["from fast_package import fast", "import fast_package\nfast_package.fast"])
def test_a_version_without_a_function_that_is_used_is_a_broken_package(
    use: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = sentence(monkeypatch, tmp_path, our_module=use, fast_package="")
    assert "package fast_package, which is installed but cannot be loaded (" in found


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = sentence(monkeypatch, tmp_path, our_module="import no_such_package.part")
    assert found == (
        "--fast needs the package no_such_package, which is not installed; "
        "run: pip install 'text-telescope[speed]'."
    )


@pytest.mark.parametrize("mistake", [NameError("x"), KeyError("x"), Refused("ours"), KeyboardInterrupt()])
def test_mistakes_that_are_not_of_a_package_pass(mistake: BaseException) -> None:
    with pytest.raises(type(mistake)) as raised, optional("--fast", extra="speed", error=Refused):
        raise mistake
    assert raised.value is mistake


def test_a_module_of_ours_that_is_missing_is_our_own_mistake() -> None:
    with pytest.raises(ModuleNotFoundError), optional("--fast", extra="speed", error=Refused):
        import_module("model_store.no_such_module")
