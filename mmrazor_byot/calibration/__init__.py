"""Calibrate an exit policy on held-out images."""

from .calibrate import Calibration, Goal, calibrate
from .held_out import calibration_loader
from .network import NetworkCalibration, calibrate_network
from .report import calibration_facts, format_calibration
from .threshold_search import Costs

__all__ = [
    'Calibration',
    'Costs',
    'Goal',
    'NetworkCalibration',
    'calibrate',
    'calibrate_network',
    'calibration_facts',
    'calibration_loader',
    'format_calibration',
]
