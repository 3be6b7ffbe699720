"""The partitions that a command is told to work on: `--partition` or `--all`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from services.settings import Settings
from services.topics import check_topics

PARTITION = Annotated[list[int] | None, typer.Option(min=0, help="Which; may be given several times.")]
ALL = Annotated[bool, typer.Option("--all", help="Every partition of the commands topic.")]


async def chosen(settings: Settings, partition: Sequence[int] | None, every: bool) -> list[int]:
    """Give the partitions that are meant.

    Raises:
        typer.BadParameter: none or both were given, or one that is not there.
        TopicError: Kafka cannot be reached, or its topics do not fit.
    """
    if bool(partition) == every:
        raise typer.BadParameter("say which with --partition, or --all")
    there = range((await check_topics(settings))[0].partitions)
    if every:
        return list(there)
    if unknown := [number for number in partition or () if number not in there]:
        raise typer.BadParameter(f"there is no partition {unknown[0]}: {settings.commands_topic} has {len(there)}")
    return sorted(set(partition or ()))
