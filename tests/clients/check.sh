#!/bin/sh
# Runs the checks of one OpenAI client: check.sh python|node
# The variables BASE_URL (with /v1) and MODEL name the server and a model that chats, API_KEY its key if it has one,
# EMBEDDING_MODEL a model that embeds if that is another one. Prints a line per check; fails if one of them failed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/clients

installed() {
    [ -e "$cache/$1" ] || {
        echo "the OpenAI clients are not installed: run tests/clients/setup.sh" >&2
        exit 2
    }
}

case "${1:-}" in
python)
    installed python/requirements.txt
    exec "$cache/python/bin/python" "$here/python/check.py"
    ;;
node)
    installed node/installed.json
    NODE_PATH=$cache/node/node_modules exec node "$here/node/check.cjs"
    ;;
*)
    echo "usage: check.sh python|node" >&2
    exit 2
    ;;
esac
