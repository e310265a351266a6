"""Where things are; apart, because several folders have a conftest."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get('MONA_MM_SHARED', ROOT.parent / 'shared'))
