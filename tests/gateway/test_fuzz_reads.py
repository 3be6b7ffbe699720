"""A part of `make fuzz-http`, with the model as the engine: what is asked."""

from tests.gateway.served import KNOWN
from tests.http_fuzz.fuzz import fuzz


def test_no_answer_to_a_read_is_undocumented_or_a_server_error(served_gateway: str) -> None:
    fuzzed = fuzz(served_gateway, KNOWN, requests_each=200, methods={"GET"})
    assert fuzzed.requests.total() >= 1_700
    assert {200, 404, 422} <= fuzzed.statuses.keys()
