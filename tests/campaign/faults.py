"""The faults of each system, and how soon it must be deciding again."""

from collections.abc import Callable
from typing import NamedTuple

from tests.campaign import allocator_faults, cluster_faults, kafka_faults, redis_faults, version_faults
from tests.campaign.fault import Fault
from tests.campaign.redis_faults import REDIS_PATIENCE_S

KILLED_GOAL_S, HANDED_OVER_GOAL_S, REDIS_BACK_GOAL_S = 7.0, 1.0, 2.0

OF_ONE_REDIS = [
    Fault("allocator killed", allocator_faults.kill_allocator, KILLED_GOAL_S, handed_over=True),
    Fault("allocator stalled, woken", allocator_faults.stall_allocator, KILLED_GOAL_S, handed_over=True),
    Fault(
        "allocator stalled, woken at once",
        allocator_faults.stall_allocator_for_a_moment_too_long,
        KILLED_GOAL_S + HANDED_OVER_GOAL_S,
        handed_over=True,
        in_short=False,
    ),
    Fault("allocator stopped", allocator_faults.terminate_allocator, HANDED_OVER_GOAL_S, handed_over=True),
    Fault("allocators 1, 4, 2", allocator_faults.scale, in_short=False),
    Fault("two versions rolled", version_faults.roll_versions),
    Fault("another layout joined", version_faults.let_another_layout_join),
    Fault("two layouts rolled", version_faults.roll_layouts, in_short=False),
    Fault("Redis killed, restarted", redis_faults.restart_redis, REDIS_BACK_GOAL_S),
    Fault("Redis lost its tail", redis_faults.lose_redis_tail, REDIS_BACK_GOAL_S),
    Fault("Redis of before restored", redis_faults.restore_older_redis, REDIS_BACK_GOAL_S),
    Fault("Redis flushed", redis_faults.flush_redis),  # the whole log is played again: as long as the log is
    Fault("late replica promoted", redis_faults.promote_replica, REDIS_BACK_GOAL_S),
    Fault("Redis scripts flushed", redis_faults.flush_scripts, REDIS_BACK_GOAL_S),
    Fault("Redis paused", redis_faults.pause_redis, REDIS_BACK_GOAL_S),
    Fault("Redis busy with a slow script", redis_faults.block_redis, REDIS_BACK_GOAL_S, in_short=False),
    Fault("Redis stalled", redis_faults.stall_redis, REDIS_BACK_GOAL_S, in_short=False),
    Fault("Redis cut", redis_faults.cut_redis, REDIS_BACK_GOAL_S),
    Fault("Redis slow", redis_faults.slow_redis, REDIS_BACK_GOAL_S),
    Fault("Redis replies lost", redis_faults.lose_redis_replies, REDIS_BACK_GOAL_S),
    Fault("Kafka killed, restarted", kafka_faults.restart_kafka),
    Fault("Kafka cut", kafka_faults.cut_kafka),
    Fault("Kafka slow", kafka_faults.slow_kafka),
    Fault("acknowledgements lost", kafka_faults.lose_acknowledgements),
    Fault("Kafka unreachable", kafka_faults.cut_kafka_off, in_short=False),
]
OF_THREE_BROKERS = [
    Fault("Kafka lost a leader", kafka_faults.kill_leader),
    Fault("Kafka lost a coordinator", kafka_faults.kill_coordinator),
    Fault("allocator killed", allocator_faults.kill_allocator, KILLED_GOAL_S, handed_over=True),
]
OF_A_CLUSTER = [
    Fault("master killed", cluster_faults.kill_master, REDIS_BACK_GOAL_S),
    Fault("failover in good order", cluster_faults.fail_over, REDIS_BACK_GOAL_S),
    Fault("replica lacks newest writes", cluster_faults.lose_newest_writes, REDIS_BACK_GOAL_S),
    Fault("one master flushed", cluster_faults.flush_master),
    Fault("allocator killed", allocator_faults.kill_allocator, KILLED_GOAL_S, handed_over=True, in_short=False),
    # Allocators wait for the reply of the one that stands still.
    Fault("master stalled", cluster_faults.stall_master, REDIS_PATIENCE_S + REDIS_BACK_GOAL_S, in_short=False),
    Fault("slots moved at once", cluster_faults.move_slots, REDIS_BACK_GOAL_S),
    Fault("slot moved key by key", cluster_faults.move_slot_key_by_key, REDIS_BACK_GOAL_S),
    Fault("cluster killed, restarted", cluster_faults.kill_cluster, REDIS_BACK_GOAL_S, in_short=False),
]


class Faults(NamedTuple):
    """The faults of each system."""

    of_one_redis: list[Fault]
    of_three_brokers: list[Fault]
    of_a_cluster: list[Fault]

    def those(self, are_meant: Callable[[Fault], bool]) -> "Faults":
        """Give some of them."""
        return Faults(*([fault for fault in faults if are_meant(fault)] for faults in self))


ALL = Faults(OF_ONE_REDIS, OF_THREE_BROKERS, OF_A_CLUSTER)
