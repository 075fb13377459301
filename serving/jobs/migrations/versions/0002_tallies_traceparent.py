"What has become of jobs, counted; and the trace that a job belongs to."

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.String(55)))
    op.create_table(
        "tallies",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("count", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name="pk_tallies"),
    )
