from tests.campaign.campaign import short
from tests.campaign.faults import ALL


def test_nothing_is_lost_and_nothing_decided_twice_whatever_dies() -> None:
    outcome = short(seed=1, say=print)
    assert outcome.broken is None
    faults = [*ALL.of_one_redis, *ALL.of_a_cluster]
    assert len(outcome.played) + len(outcome.skipped) == sum(fault.in_short for fault in faults)
