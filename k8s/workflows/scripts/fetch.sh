#!/bin/sh
# fetch.sh REPOSITORY BRANCH FOLDER REMOTE: the project at the head of a branch, and the data that its dvc.lock names.
set -eu
[ $# -eq 4 ] || { echo 'fetch.sh: expected REPOSITORY BRANCH FOLDER REMOTE' >&2; exit 2; }
rm -rf "$3" # of an attempt before this one
git clone --quiet --single-branch --branch "$2" -- "$1" "$3"
cd "$3"
dvc remote default --local "$4"
dvc pull --quiet --allow-missing # what no remote has is made again
git log -1 --format='fetch.sh: %h %s'
