"""Valid and invalid requests generated from the OpenAPI document: each gets a documented response."""

from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.reliability.conftest import Serve
from tests.reliability.swarm import assert_settled

pytestmark = pytest.mark.slow
CHECKS = [status_code_conformance, content_type_conformance]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_generated_request_gets_a_documented_response(serve: Serve, mode: GenerationMode) -> None:
    server = serve()
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    sent = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        own = (operation.query, operation.headers, operation.cookies, operation.body)
        if mode is GenerationMode.NEGATIVE and not any(len(list(each)) for each in own):
            continue  # any text is valid in a path, and the search for other text would take seconds

        @seed(0)
        @settings(max_examples=15, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case: schemathesis.Case[Any]) -> None:
            nonlocal sent
            sent += 1
            response = case.call()
            is_late = response.status_code == 504 and "X-Request-Timeout-Ms" in case.headers
            case.validate_response(response, checks=CHECKS if is_late else [*CHECKS, not_a_server_error])

        with suppress(Unsatisfiable):  # not every operation with parameters has invalid requests
            holds()
    assert sent >= 30
    assert server.post(b"").status_code == 400
    assert_settled(server)
