"""Which version gave an answer: the model's revision, and its adapter's version."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; the release before writes without them."""
    for name in ("revision", "adapter_version"):
        column = sa.Column(name, sa.String(), nullable=False, server_default="")
        op.add_column("responses", column)
