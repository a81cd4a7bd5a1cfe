"""Pictures of a run: its curves over the iterations, and its detections on images."""

from ssod.visualization.curves import plot_curves, read_scalars
from ssod.visualization.detections import draw_detections

__all__ = ['draw_detections', 'plot_curves', 'read_scalars']
