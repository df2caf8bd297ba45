#!/usr/bin/env bash
# make image: builds the Dockerfile with docker, or with buildah or podman of Debian, as melanoma:local.
#   BASE=IMAGE     another base than the Dockerfile's. Where its registry cannot be reached, a base is
#                  made of Debian's packages (mmdebstrap), with the sources of this machine's apt.
#   TORCH_INDEX=   pip's own index instead of PyTorch's for CPUs; taken by itself where that cannot be
#                  reached (the image is then several GB larger, for it holds CUDA).
#   NEEDED_GB=     disk that buildah may take for a moment: both stages, and the layers it copies.
# python -m benchmarks.image then runs it read-only and as nobody, probes it, scores with it, stops it.
set -euo pipefail
cd "$(dirname "$0")/.."
NAME=${NAME:-melanoma:local}
MADE=localhost/melanoma-base:local
say() { echo "image: $*" >&2; }

if docker info >/dev/null 2>&1; then TOOL=docker
elif command -v buildah >/dev/null && command -v podman >/dev/null; then TOOL=buildah
else
  say "neither a docker daemon nor buildah with podman is here (apt-get install buildah podman crun)"
  exit 2
fi

default_base() { sed -n 's/^ARG BASE=//p' Dockerfile; }
reachable() { timeout 20 "$@" >/dev/null 2>&1; }

base() {
  if [ -n "${BASE:-}" ]; then echo "$BASE"; return; fi
  local wanted; wanted=$(default_base)
  if [ "$TOOL" = docker ]; then echo "$wanted"; return; fi
  if reachable podman pull --quiet "docker.io/library/$wanted"; then echo "docker.io/library/$wanted"; return; fi
  if ! podman image exists "$MADE"; then
    say "$wanted cannot be pulled: a base of Debian's packages instead"
    command -v mmdebstrap >/dev/null || { say "apt-get install mmdebstrap"; exit 2; }
    local folder sources; folder=$(mktemp -d)
    sources=$(ls /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python-is-python3,ca-certificates \
      bookworm "$folder/base.tar" "$sources" >&2
    podman import --quiet "$folder/base.tar" "$MADE" >/dev/null
    rm -r "$folder"
  fi
  echo "$MADE"
}

# pip's own configuration of this machine, where it has one: an index, a certificate, folders of wheels.
pip_files() {
  { python3 -m pip config debug 2>/dev/null | sed -n 's/^ *\(\/.*\), exists: True$/\1/p'
    python3 -m pip config list 2>/dev/null | grep -oE "(file://|')/[^' ]+" |
      sed -e 's#^file://##' -e "s#^'##" -e 's#/simple$##'
  } | sort -u | while read -r path; do [ -e "$path" ] && echo "$path"; done || true
}

torch_index() {
  if [ -n "${TORCH_INDEX+set}" ]; then echo "$TORCH_INDEX"; return; fi
  local wanted; wanted=$(sed -n 's/^ARG TORCH_INDEX=//p' Dockerfile)
  if reachable python3 -c "import sys, urllib.request as r; r.urlopen(sys.argv[1] + '/torch/', timeout=15)" "$wanted"; then
    echo "$wanted"
  else
    say "$wanted cannot be reached: torch of pip's own index, with CUDA"
  fi
}

# A build that ends for want of disk has first taken it from everything else here.
require_disk() {
  local needed free
  needed=${NEEDED_GB:-$([ -n "$TORCH_INDEX" ] && echo 8 || echo 25)}
  free=$(($(df --output=avail -k "$(podman info --format '{{.Store.GraphRoot}}')" | tail -n 1) / 1048576))
  if [ "$free" -lt "$needed" ]; then
    say "$free GB of disk are free, $needed are needed for a moment (NEEDED_GB=$free tries it with less)"
    exit 6
  fi
}

BASE=$(base)
TORCH_INDEX=$(torch_index)
[ "$TOOL" = docker ] || require_disk
arguments=(--build-arg "BASE=$BASE" --build-arg "TORCH_INDEX=$TORCH_INDEX")
say "$TOOL, base $BASE"
if [ "$TOOL" = docker ]; then
  docker build "${arguments[@]}" -t "$NAME" .
else
  for path in $(pip_files); do
    # What lies below another one comes with it.
    arguments+=(--volume "$path:$path:ro")
  done
  # The host's network: a build needs a package index and nothing else. Docker's format, since the
  # other has no HEALTHCHECK.
  buildah build --format docker --network host --isolation "${ISOLATION:-chroot}" --layers=false \
    "${arguments[@]}" -t "$NAME" .
fi
say "built $NAME"
