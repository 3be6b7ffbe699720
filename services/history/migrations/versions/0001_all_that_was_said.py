"""Tables of what was said, and views of what follows from it."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them all."""
    for name in ("0001_facts.sql", "0001_views.sql"):
        for statement in Path(__file__).with_name(name).read_text(encoding="utf-8").split(";\n\n"):
            op.execute(statement)


def downgrade() -> None:
    """There is nothing before it."""
    raise NotImplementedError("a history is not taken back: it is dropped, and made again from the topic")
