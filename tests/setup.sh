#!/usr/bin/env bash
# Sets up what `make test` needs and this machine lacks. What is there already is reused; each part says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/control-plane/build.sh
tests/clients/setup.sh
