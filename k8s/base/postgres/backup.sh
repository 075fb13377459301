#!/bin/sh
# backup.sh FOLDER DATABASE...: a dump of each database in FOLDER/TIME, whole or not at all; the newest $KEEP are kept.
# Who and where: libpq's variables (PGHOST, PGPORT, PGUSER, PGPASSWORD).
set -eu
[ $# -ge 2 ] || { echo 'backup.sh: found no folder or no database; expected FOLDER DATABASE...' >&2; exit 2; }
folder=$1
shift
at=$(date -u +%Y%m%dT%H%M%SZ)
unfinished="$folder/.unfinished"
rm -rf "$unfinished"
mkdir -p "$unfinished"

for database in "$@"; do
  dump="$unfinished/$database.dump"
  pg_dump --format=custom --no-password --dbname="$database" --file="$dump"
  pg_restore --list "$dump" >/dev/null # one that cannot be read is no backup
done
(cd "$unfinished" && sha256sum -- *.dump >sha256)
mv "$unfinished" "$folder/$at" # from here on it is there
echo "backup.sh: $folder/$at holds $*"

# names are times: in their order the oldest come first
ls -d "$folder"/2*Z | sort | head -n "-${KEEP:-14}" | while read -r old; do
  rm -rf -- "$old"
  echo "backup.sh: $old was older than the newest ${KEEP:-14}"
done
