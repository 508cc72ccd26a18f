"""Optional packages: one that is missing or broken becomes one sentence with its name, its error and the remedy.

    with optional("TELESCOPE_DEMO_OCR=true", "rapidocr", extra="ocr", error=StartupError):
        from rapidocr import RapidOCR

A broken package can raise anything when it is imported: ImportError and OSError if a shared library is missing,
AttributeError if a version does not fit, RuntimeError or KeyError from its own code.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from types import ModuleType

OURS = {"__main__", "app", "bench", "model_store", "text_telescope", "training"}
EXTRAS = {"torch": "torch"}  # packages of one extra alone


@contextmanager
def optional(
    purpose: str, package: str | None = None, *, extra: str, error: type[BaseException], also: str = ""
) -> Iterator[None]:
    """Raises `error` with one sentence for a package that cannot be imported, or lacks an attribute used inside.

    purpose: the subject of the sentence. package: None reads it from the exception, and lets mistakes of our own
    code pass. Exceptions of our own classes always pass. extra: the one that installs the package.
    also: a further remedy, the end of the sentence.
    """
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:  # a library in Rust panics with a BaseException, and SystemExit hides the reason
        named = package or blamed(exc)
        if named is None or _top(type(exc).__module__) in OURS:
            raise
        install = f"'text-telescope[{EXTRAS.get(named, extra)}]'"
        if _is_missing(named, exc):
            remedy = f"run: pip install {install}"
        else:
            remedy = f"add the library that it lacks, or reinstall it: pip install --force-reinstall {install}"
        raise error(f"{purpose} needs the package {named}, which {state(named, exc)}; {remedy}{also}.") from exc


def state(package: str, exc: BaseException) -> str:
    """The state of `package` after its import raised `exc`, as the end of a sentence."""
    if _is_missing(package, exc):
        return "is not installed"
    culprit = blamed(exc) or package
    where = "" if culprit == _top(package) else f" in {culprit}"
    return f"is installed but cannot be loaded ({type(exc).__name__}{where}: {first_line(exc)})"


def first_line(exc: BaseException) -> str:
    """The first line of a library's error message; the rest is for its developers."""
    text = str(exc).strip()
    return text.splitlines()[0].strip() if text else type(exc).__name__


def blamed(exc: BaseException) -> str | None:
    """The package whose import failed, or which lacks an attribute; None for any other exception.

    If one package imports another, that is the last one: TensorBoard's imports PyTorch, for example.
    """
    calls = [(_top(frame.f_globals.get("__name__", "")), frame.f_code) for frame, _ in walk_tb(exc.__traceback__)]
    foreign = [(module, code) for module, code in calls if module not in OURS | sys.stdlib_module_names]
    if foreign:
        imported = [module for module, code in foreign if code.co_name == "<module>"]
        return imported[-1] if foreign[0][1].co_name == "<module>" else None
    if isinstance(exc, AttributeError) and isinstance(exc.obj, ModuleType):
        named = exc.obj.__name__
    else:
        named = (exc.name if isinstance(exc, ImportError) else None) or ""
    return _top(named) if named and _top(named) not in OURS else None


def _is_missing(package: str, exc: BaseException) -> bool:
    return isinstance(exc, ModuleNotFoundError) and f"{package}.".startswith(f"{exc.name}.")


def _top(module: str) -> str:
    return module.partition(".")[0]
