"""The page that shows a run, and the page that shows what a run would learn from."""

from ssod.visualization.report.page import write_report
from ssod.visualization.report.views import write_views

__all__ = ['write_report', 'write_views']
