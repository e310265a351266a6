"""Training curves: read mmengine's logs, draw one line per method."""
from .collect import collect
from .draw import FORMATS, draw, draw_panels
from .figure import Panel
from .log import Log, read_log
from .names import display_name
from .series import Line, mean_of_runs, running_mean
from .styles import METHODS, Style, styles_of

__all__ = [
    'FORMATS', 'METHODS', 'Line', 'Log', 'Panel', 'Style', 'collect',
    'display_name', 'draw', 'draw_panels', 'mean_of_runs', 'read_log',
    'running_mean', 'styles_of'
]
