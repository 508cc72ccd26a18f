"""The log: one JSON object a line, whichever part of the process writes it; short lines at a terminal."""

import json
import re
import signal
import subprocess
import sys

import httpx
import pytest

from tests.app.conftest import png
from tests.app.process import at_a_terminal, wait_until
from tests.conftest import REPOSITORY

CODE = """
import logging, warnings
from app.telemetry.logs import configure_logging
configure_logging("info", "{log_format}")
warnings.warn("a picture\\nwith a damaged header")
try:
    raise ValueError("\\x1b[2J")
except ValueError:
    logging.exception("internal error")
"""


def test_warnings_and_errors_of_libraries_are_json_lines() -> None:
    code = CODE.format(log_format="auto")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    warning, error = map(json.loads, done.stderr.splitlines())
    assert (warning["level"], warning["logger"]) == ("WARNING", "py.warnings")
    assert "with a damaged header" in warning["message"]
    assert error["exc_info"].endswith("ValueError: \x1b[2J")


def test_a_terminal_shows_colours_and_no_control_characters_of_others() -> None:
    with at_a_terminal("-c", CODE.format(log_format="auto")) as terminal:
        shown = terminal.read()
    assert "\033[33mWARNING\033[m <string>:5: UserWarning: a picture\nwith a damaged header\n" in shown
    assert "\033[31mERROR  \033[m internal error\nTraceback" in shown
    assert shown.endswith("ValueError: \\x1b[2J\n")


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours_gets_none(variable: dict[str, str]) -> None:
    with at_a_terminal("-c", CODE.format(log_format="auto"), **variable) as terminal:
        assert "\033" not in terminal.read()


def test_the_setting_chooses_json_at_a_terminal_too() -> None:
    with at_a_terminal("-c", CODE.format(log_format="json")) as terminal:
        assert [json.loads(line)["level"] for line in terminal.read().splitlines()] == ["WARNING", "ERROR"]


@pytest.mark.slow
def test_a_person_who_starts_the_service_reads_its_model_its_address_and_a_line_for_each_request() -> None:
    pytest.importorskip("openvino")
    with at_a_terminal("-m", "app", "serve", "--port", "0", NO_COLOR="1") as terminal:
        started = terminal.read(until=r"listens on .*\n")
        with httpx.Client(base_url=re.findall(r"http://\S+", started)[0], timeout=60) as client:
            client.post("/v1/super-resolve", content=png(), headers={"Content-Type": "image/png"})
            client.post("/v1/super-resolve", files=[("image", png()), ("image", b"none")])
            client.get("/no%0Aplace")
        terminal.popen.send_signal(signal.SIGINT)
        shown = terminal.read()
        wait_until(lambda: terminal.popen.poll() is not None)
    assert terminal.popen.returncode == 0
    time = r"\d\d:\d\d:\d\d"
    expected = [
        r"Loading tbsrn and warming up; this takes a few seconds \.\.\.",
        rf"{time} INFO    tbsrn:\d+ is ready on openvino, cpu, (bf16|fp32)",
        rf"{time} INFO    Text Telescope listens on http://127\.0\.0\.1:\d+ \(to try it: /, docu.*: /docs\)",
        rf"{time} INFO    POST /v1/super-resolve 200, \d+ ms, 1 image",
        rf"{time} INFO    POST /v1/super-resolve 200, \d+ ms, 2 images, 1 failed",
        rf"{time} INFO    GET /no\\nplace 404, \d+ ms, not_found",
        rf"{time} INFO    stopping: requests that are here are finished, new ones get 503",
    ]
    lines = shown.splitlines()
    assert len(lines) == len(expected), shown
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line
