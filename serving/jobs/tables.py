"Tables of the service, as SQLAlchemy knows them. The database gets them by `migrations`, never from here."

import sqlalchemy as sa
from geoalchemy2 import Geometry

ROLES = ("admin", "recruiter")
STATUSES = ("accepted", "running", "successful", "failed", "dismissed")
FINAL = ("successful", "failed", "dismissed")  # never left again

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
seconds: sa.Double[float] = sa.Double()  # of the database's clock, since 1970, UTC
document = sa.JSON(none_as_null=True)


def one_of(name: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    "A column of text that takes these values only."
    return sa.CheckConstraint(f"{name} IN ({', '.join(map(repr, values))})", name=name)


users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("password_hash", sa.String(256), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created", seconds, nullable=False),
    one_of("role", ROLES),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user_id", sa.ForeignKey(users.c.id), nullable=False),
    # What was asked
    sa.Column("inputs", document, nullable=False),
    sa.Column("idempotency_key", sa.String(128)),
    sa.Column("area", document, nullable=False),  # GeoJSON geometry, WGS 84
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
    # Where it stands
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("progress", sa.Integer, nullable=False),  # per cent
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("created", seconds, nullable=False),
    sa.Column("started", seconds),  # first attempt
    sa.Column("finished", seconds),
    sa.Column("updated", seconds, nullable=False),
    sa.Column("result", document),
    sa.Column("error", document),
    # Who has it
    sa.Column("attempt", sa.Integer, nullable=False),  # goes up with each claim and never down: it is the fence
    sa.Column("lost", sa.Integer, nullable=False),  # attempts that came to nothing, and count
    sa.Column("lease_owner", sa.String(128)),  # who has it, or brought it to its end
    sa.Column("lease_until", seconds),
    sa.Column("not_before", seconds, nullable=False),
    sa.Column("traceparent", sa.String(55)),  # W3C: the request that it was asked with; none where nobody traces
    # The database reads the area itself, so that it cannot differ from what is asked. PostGIS only.
    sa.Column(
        "area_geom",
        Geometry("GEOMETRY", srid=4326, spatial_index=False),
        sa.Computed("st_setsrid(st_geomfromgeojson(area), 4326)", persisted=True),
    ),
    one_of("status", STATUSES),
    sa.UniqueConstraint("user_id", "idempotency_key"),
    sa.Index("ix_jobs_status_created", "status", "created", "id"),
    sa.Index("ix_jobs_user_id_created", "user_id", "created", "id"),
    sa.Index("ix_jobs_area_geom", "area_geom", postgresql_using="gist"),
)
SPATIAL = ("area_geom", "ix_jobs_area_geom")  # only where there is PostGIS

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("since", seconds, nullable=False),
    sa.Column("seen", seconds, nullable=False),
)

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("label", sa.String(64), primary_key=True),
    sa.Column("count", sa.Double, nullable=False),
)
