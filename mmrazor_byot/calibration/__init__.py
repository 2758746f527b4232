"""From held-out images to an exit policy."""
from .calibrate import Calibration, Goal, calibrate
from .held_out import calibration_loader
from .report import calibration_facts, format_calibration

__all__ = [
    'Calibration', 'Goal', 'calibrate', 'calibration_facts',
    'calibration_loader', 'format_calibration'
]
