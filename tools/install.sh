#!/usr/bin/env bash
# Install the stack into the environment of a Python: tools/install.sh [PYTHON]
# Safe to run again: what is there is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${1:-python}

"$PYTHON" - <<'PY'
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(f'error: Python {sys.version.split()[0]}; mona_mm needs 3.10, '
             '3.11 or 3.12: make PYTHON=python3.11 install')
PY

pins() { grep -E "^($1)[=>]" requirements.txt; }
pip() { "$PYTHON" -m pip --disable-pip-version-check "$@"; }

echo "[1/4] torch (about 5 GB; minutes on a fast line)"
pip install -q $(pins 'torch|torchvision|setuptools') wheel ninja psutil \
    packaging

echo "[2/4] mmcv with its compiled ops (11 to 15 minutes on two cores, the" \
     "first time; pip keeps the built wheel)"
pip install -q --no-build-isolation $(pins \
    'numpy|opencv-python|onedl-mmengine|onedl-mmcv')
if ! "$PYTHON" tools/check_ops.py; then
    echo "      the cached mmcv does not fit this torch: building it again"
    pip install -q --no-build-isolation --no-cache-dir --no-deps \
        --force-reinstall $(pins onedl-mmcv)
    "$PYTHON" tools/check_ops.py
fi

echo "[3/4] the other OpenMMLab libraries (a minute)"
pip install -q --no-build-isolation -r requirements.txt

echo "[4/4] mona_mm itself"
pip install -q --no-build-isolation --no-deps -e .
