#!/usr/bin/env bash
# Sets up what `make test` needs and this machine lacks. What is there already is reused; each part says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/control-plane/build.sh
tests/clients/setup.sh
# A real Redis, for what routers and sidecars share.
if ! command -v redis-server >/dev/null; then
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -q
  $as_root apt-get install -qy --no-install-recommends redis-server
fi
