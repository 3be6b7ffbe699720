"""Snapshots: the state of a partition at an offset, in a file that a rebuild can begin from (docs/snapshots.md)."""
