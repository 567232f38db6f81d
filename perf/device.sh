#!/usr/bin/env bash
# Measures the full-scale path on this machine's accelerator in at most nine minutes.
#   perf/device.sh [--install] [--toy] [--out FILE]     (perf/device.sh --help)
# --install first makes .venv-device with the package, pytest and hypothesis; a torch that is
# already here is used. The nine minutes count from the end of the installation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-}
if [ "${1:-}" = "--install" ]; then
  shift
  [ -x .venv-device/bin/python ] || "${python:-python3}" -m venv --system-site-packages .venv-device
  python=.venv-device/bin/python
  "$python" -m pip install --quiet -e '.[synth]' 'pytest>=9' 'hypothesis>=6.150'
fi
for place in .venv-device .venv; do
  if [ -z "$python" ] && [ -x "$place/bin/python" ]; then python=$place/bin/python; fi
done
exec "${python:-python3}" perf/device.py "$@"
