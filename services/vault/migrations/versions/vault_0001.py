"""Contacts, and the keys that they are encrypted under."""

from pathlib import Path

from alembic import op

revision = "vault_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    for statement in Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").split(";\n\n"):
        op.execute(statement)


def downgrade() -> None:
    """There is nothing before it."""
    raise NotImplementedError("who patients are is not made again from the log: drop the schema if you mean it")
