"How Alembic runs here: on the connection that `database.upgrade` gives it, inside its transaction."

from typing import Any

from alembic import context

from serving.jobs.tables import SPATIAL, metadata

connection = context.config.attributes["connection"]
postgis = connection.dialect.name == "postgresql"


def ours(thing: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
    "What is compared: our tables, not those of PostGIS; what is spatial only where there is PostGIS."
    if kind == "table" and reflected:
        return name in metadata.tables
    return postgis or name not in SPATIAL


context.configure(connection=connection, target_metadata=metadata, include_object=ours)
with context.begin_transaction():
    context.run_migrations()
