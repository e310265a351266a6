#!/usr/bin/env python
"""Check that mmcv's compiled ops are there, by running some."""
import sys
from pathlib import Path

# The installer runs this before mona_mm is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mona_mm.doctor.ops import check_ops  # noqa: E402

if __name__ == '__main__':
    try:
        print(f'mmcv ops: {check_ops()}')
    except RuntimeError as error:
        raise SystemExit(f'error: {error}') from None
    except (ImportError, OSError) as error:
        raise SystemExit(f'error: mmcv was installed without its compiled '
                         f'ops, or for another torch ({error}); run '
                         'tools/install.sh') from None
