#!/usr/bin/env bash
# Install the stack into the environment of a Python:
#   tools/install.sh [--wheels DIR] [--torch-only] [PYTHON]
# DIR: a folder of tools/build_wheels.py, or its address; mmcv is taken from
# there if it fits and its hash is right, and built otherwise.
# --torch-only: no more than what mmcv is built with and against.
# Safe to run again: what is there is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
WHEELS=${MONA_MM_WHEELS:-}
TORCH_ONLY=
while [ "${1:-}" != "${1#--}" ]; do
    case $1 in
        --wheels) WHEELS=${2:?--wheels needs a folder or an address}; shift ;;
        --torch-only) TORCH_ONLY=1 ;;
        *) echo "error: unknown option $1; there are --wheels DIR and" \
               "--torch-only" >&2; exit 2 ;;
    esac
    shift
done
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
    packaging $(pins tqdm)
[ -z "$TORCH_ONLY" ] || exit 0

echo "[2/4] mmcv with its compiled ops (11 to 15 minutes on two cores, the" \
     "first time; pip keeps the built wheel)"
pip install -q --no-build-isolation $(pins \
    'numpy|opencv-python|onedl-mmengine')
if ! "$PYTHON" tools/check_ops.py 2>/dev/null; then
    SCRATCH=$(mktemp -d)
    trap 'rm -rf "$SCRATCH"' EXIT
    WHEEL=
    if [ -n "$WHEELS" ]; then
        WHEEL=$("$PYTHON" tools/build_wheels.py "$SCRATCH" \
            --fetch "$WHEELS") || echo "      so it is built here"
    fi
    WHEEL=${WHEEL:-$("$PYTHON" tools/build_wheels.py "$SCRATCH" --cached)}
    pip install -q --no-build-isolation "$WHEEL"
    if ! "$PYTHON" tools/check_ops.py; then
        echo "      that wheel does not fit this torch: building it again"
        pip install -q --no-deps --force-reinstall \
            "$("$PYTHON" tools/build_wheels.py "$SCRATCH")"
        "$PYTHON" tools/check_ops.py
    fi
fi

echo "[3/4] the other OpenMMLab libraries (a minute)"
pip install -q --no-build-isolation -r requirements.txt

echo "[4/4] mona_mm itself"
pip install -q --no-build-isolation --no-deps -e .
