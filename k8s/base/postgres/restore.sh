#!/bin/sh
# restore.sh FOLDER DATABASE: put DATABASE back as FOLDER/DATABASE.dump has it. What was there stays, as DATABASE_before.
# The dump is read into a database of its own first; only when that has succeeded do the two change names.
# Who and where: libpq's variables. Stop what writes to the database before (docs/platform.md, Restore).
set -eu
[ $# -eq 2 ] || { echo 'restore.sh: expected FOLDER DATABASE' >&2; exit 2; }
folder=$1 database=$2
case $database in *[!a-z0-9_]* | '') echo "restore.sh: found the name '$database'; expected a-z, 0-9, _" >&2; exit 2 ;; esac
[ -f "$folder/$database.dump" ] || { echo "restore.sh: found no $folder/$database.dump; expected a folder that backup.sh made" >&2; exit 2; }

ask() { psql --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname=postgres --command="$1"; }

(cd "$folder" && grep -F "  $database.dump" sha256 | sha256sum --check --quiet -)
if [ -n "$(ask "SELECT 1 FROM pg_database WHERE datname = '${database}_before'")" ]; then
  echo "restore.sh: found ${database}_before, kept by a restore before this one; look at it, then drop it" >&2
  exit 1
fi
ask "DROP DATABASE IF EXISTS ${database}_new"
ask "CREATE DATABASE ${database}_new TEMPLATE template0"
pg_restore --no-password --exit-on-error --no-owner --dbname="${database}_new" "$folder/$database.dump"

ask "ALTER DATABASE $database ALLOW_CONNECTIONS false"
ask "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$database'" >/dev/null
ask "ALTER DATABASE $database RENAME TO ${database}_before"
ask "ALTER DATABASE ${database}_new RENAME TO $database"
ask "ALTER DATABASE ${database}_before ALLOW_CONNECTIONS true"
echo "restore.sh: $database is that of $folder; the one before is ${database}_before"
