#!/bin/sh
# Installs the OpenAI clients of the checks into .cache/clients/: a Python environment and a Node folder.
# Needs python3 with venv, node 20 or later and npm. Takes no time when nothing changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/clients
mkdir -p "$cache"

need() {
    command -v "$1" >/dev/null || {
        echo "$1 is needed for the OpenAI client checks: install it from your system's packages" >&2
        exit 1
    }
}

if ! cmp -s "$here/python/requirements.txt" "$cache/python/requirements.txt"; then
    need python3
    rm -rf "$cache/python"
    python3 -m venv "$cache/python"
    "$cache/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt"
    cp "$here/python/requirements.txt" "$cache/python/requirements.txt"
fi

if ! cmp -s "$here/node/package-lock.json" "$cache/node/installed.json"; then
    need node
    need npm
    rm -rf "$cache/node"
    mkdir -p "$cache/node"
    cp "$here/node/package.json" "$here/node/package-lock.json" "$cache/node/"
    (cd "$cache/node" && npm ci --no-audit --no-fund --loglevel=error)
    cp "$here/node/package-lock.json" "$cache/node/installed.json"
fi
