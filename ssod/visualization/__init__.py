"""Pictures of a run: its curves over the iterations, and its detections on images."""

from ssod.visualization.curves import plot_curves
from ssod.visualization.detections import draw_detections
from ssod.visualization.scalars import read_scalars

__all__ = ['draw_detections', 'plot_curves', 'read_scalars']
