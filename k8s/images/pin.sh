#!/bin/sh
# k8s/images/pin.sh          writes the digest that its registry has for the version of each image of others (skopeo)
# k8s/images/pin.sh --check  says which differ, and changes nothing; exit 1 if any does
# A digest of several platforms (an index), so that nodes of another kind get theirs.
set -eu
cd "$(dirname "$0")"
command -v skopeo >/dev/null || { echo 'skopeo: found none. On Debian: apt-get install skopeo' >&2; exit 2; }
status=0
images=$(sed -n '/# of others/,$p' kustomization.yaml | awk '/newName:/ { name = $2 } /newTag:/ { tag = $2 } /digest:/ { print name, tag, $2 }')
while read -r name tag digest; do
  found=$(skopeo inspect ${SKOPEO_ARGS:-} --raw "docker://$name:$tag" | sha256sum | cut -d ' ' -f 1)
  if [ "sha256:$found" = "$digest" ]; then
    echo "$name:$tag is $digest"
  elif [ "${1:-}" = --check ]; then
    echo "$name:$tag is sha256:$found; found $digest in kustomization.yaml" >&2
    status=1
  else
    sed -i "s/$digest/sha256:$found/" kustomization.yaml
    echo "$name:$tag is sha256:$found, written"
  fi
done <<END
$images
END
exit $status
