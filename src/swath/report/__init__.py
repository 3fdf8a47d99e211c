"""Reports: one self-contained page a run, with maps, figures, drawings and tables."""

from swath.report.drawing import Edge, Node, draw_graph
from swath.report.report import write_report

__all__ = ["Edge", "Node", "draw_graph", "write_report"]
