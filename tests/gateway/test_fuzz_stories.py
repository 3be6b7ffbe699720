"""A part of `make fuzz-http`, with the model as the engine: requests about what answers told of."""

from tests.gateway.served import KNOWN
from tests.http_fuzz.fuzz import fuzz


def test_no_answer_in_a_story_is_undocumented_or_a_server_error(served_gateway: str) -> None:
    fuzzed = fuzz(served_gateway, KNOWN, requests_in_stories=1_300)
    assert fuzzed.requests.total() >= 1_300
    assert {200, 404} <= fuzzed.statuses.keys()
