"""The registry that a service's metrics stand in."""

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector


def new_registry() -> CollectorRegistry:
    """Give one that tells of the process already: processor time, memory, open files, garbage collections."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
