"""A part of `make fuzz-http`, with the model as the engine: what is to be done."""

from tests.gateway.served import KNOWN
from tests.http_fuzz.fuzz import METHODS, fuzz


def test_no_answer_to_a_write_is_undocumented_or_a_server_error(served_gateway: str) -> None:
    fuzzed = fuzz(served_gateway, KNOWN, requests_each=175, methods=METHODS - {"GET"})
    assert fuzzed.requests.total() >= 2_000
    assert {200, 404, 409, 422} <= fuzzed.statuses.keys()  # three of them book something new: that is chance
