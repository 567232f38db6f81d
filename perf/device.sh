#!/usr/bin/env bash
# Measures the full-scale path on this machine's accelerator in at most nine minutes.
#   perf/device.sh [--install] [--toy] [--out FILE]     (perf/device.sh --help)
# --install first makes .venv-device with the package, pytest and hypothesis; a torch that is
# already here is used. The nine minutes count from the end of the installation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = "--install" ]; then
  shift
  [ -x .venv-device/bin/python ] || "${PYTHON:-python3}" -m venv --system-site-packages .venv-device
  .venv-device/bin/python -m pip install --quiet -e '.[synth]' 'pytest>=9' 'hypothesis>=6.150'
fi

python=${PYTHON:-python3}
for place in .venv .venv-device; do
  if [ -x "$place/bin/python" ] && [ -z "${PYTHON:-}" ]; then python=$place/bin/python; fi
done
exec "$python" perf/device.py "$@"
