"""What the analysis tools share: networks, images, files."""

from .images import check_same_images, class_names, image_loader
from .networks import (
    Network,
    add_network_arguments,
    add_output_arguments,
    load_network,
    load_networks,
)
from .results import output_folder, write_results

__all__ = [
    'Network',
    'add_network_arguments',
    'add_output_arguments',
    'check_same_images',
    'class_names',
    'image_loader',
    'load_network',
    'load_networks',
    'output_folder',
    'write_results',
]
