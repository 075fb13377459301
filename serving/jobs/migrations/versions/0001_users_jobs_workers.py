"Users, jobs and workers."

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("password_hash", sa.String(256), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sa.CheckConstraint("role IN ('admin', 'recruiter')", name="ck_users_role"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("inputs", sa.JSON, nullable=False),
        sa.Column("idempotency_key", sa.String(128)),
        sa.Column("area", sa.JSON, nullable=False),
        sa.Column("west", sa.Double, nullable=False),
        sa.Column("south", sa.Double, nullable=False),
        sa.Column("east", sa.Double, nullable=False),
        sa.Column("north", sa.Double, nullable=False),
        sa.Column("season_first", sa.Date, nullable=False),
        sa.Column("season_last", sa.Date, nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("model_version", sa.String(128), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("finished", sa.Double),
        sa.Column("updated", sa.Double, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lost", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String(128)),
        sa.Column("lease_until", sa.Double),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_jobs_user_id"),
        sa.UniqueConstraint("user_id", "idempotency_key", name="uq_jobs_user_id_idempotency_key"),
        sa.CheckConstraint(
            "status IN ('accepted', 'running', 'successful', 'failed', 'dismissed')", name="ck_jobs_status"
        ),
    )
    op.create_index("ix_jobs_status_created", "jobs", ["status", "created", "id"])
    op.create_index("ix_jobs_user_id_created", "jobs", ["user_id", "created", "id"])
    op.create_table(
        "workers",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("seen", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE EXTENSION IF NOT EXISTS postgis")
        area = sa.Computed("st_setsrid(st_geomfromgeojson(area), 4326)", persisted=True)
        op.add_column("jobs", sa.Column("area_geom", Geometry("GEOMETRY", srid=4326, spatial_index=False), area))
        op.create_index("ix_jobs_area_geom", "jobs", ["area_geom"], postgresql_using="gist")
