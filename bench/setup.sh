#!/usr/bin/env bash
# Installs what the router is measured beside: nginx, and two Rust peers from the Python registry. What is there is
# reused; a peer that cannot be installed is left out of the table, which says so.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v nginx >/dev/null; then
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -q
  $as_root apt-get install -qy --no-install-recommends nginx-light
fi
venv=.cache/bench-venv
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
for package in smg vllm-router; do
  [ -x "$venv/bin/$package" ] || "$venv/bin/pip" install --quiet "$package" || echo "cannot install $package"
done
