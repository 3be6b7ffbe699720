"""A table that is only added to."""

from pathlib import Path

from alembic import op

revision = "trail_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""
    for statement in Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").split(";\n\n"):
        op.execute(statement)


def downgrade() -> None:
    """There is nothing before it."""
    raise NotImplementedError("what was noted stays noted: drop the schema if you mean it")
