"""The outbox, how far the events are taken, and who sits in the hall."""

from pathlib import Path

from alembic import op

revision = "notifier_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    for statement in Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").split(";\n\n"):
        op.execute(statement)


def downgrade() -> None:
    """There is nothing before it."""
    raise NotImplementedError("what was sent is not made again from the log: drop the schema if you mean it")
