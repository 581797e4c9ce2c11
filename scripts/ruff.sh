#!/usr/bin/env bash
# Runs the ruff that setup.sh --check installed, else the one on the path.
set -euo pipefail
own=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/ruff
if [[ -x $own ]]; then
  exec "$own" "$@"
fi
exec ruff "$@"
