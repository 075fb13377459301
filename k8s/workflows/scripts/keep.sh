#!/bin/sh
# keep.sh FOLDER BRANCH REASON: the data to the remote first, then dvc.lock and the scores as a commit; so no commit names
# data that is nowhere. Where nothing has changed nothing is committed. A branch that has moved on meanwhile is taken in,
# unless it changed the same files: then this fails, and is begun anew from fetch.sh.
set -eu
[ $# -eq 3 ] || { echo 'keep.sh: expected FOLDER BRANCH REASON' >&2; exit 2; }
cd "$1"
dvc push --quiet
git add --update
if git diff --cached --quiet; then
  echo 'keep.sh: nothing has changed'
  exit 0
fi
git diff --cached --name-only
git -c user.name='geocrop retraining' -c user.email=retraining@geocrop.invalid \
  commit --quiet --message "model: retrained, $(printf %s "$3" | tr -dc 'A-Za-z0-9 ._-' | cut -c 1-60)"
for attempt in 1 2 3; do
  git push --quiet origin "HEAD:refs/heads/$2" && exit 0
  echo "keep.sh: push $attempt was refused; taking in what is new" >&2
  git -c user.name='geocrop retraining' -c user.email=retraining@geocrop.invalid pull --quiet --rebase origin "$2"
done
exit 1
