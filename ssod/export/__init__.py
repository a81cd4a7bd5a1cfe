"""A trained detector as one ONNX file: from pixels to boxes, without mmdet and PyTorch."""

from ssod.export.onnx_file import Exported, export_onnx

__all__ = ['Exported', 'export_onnx']
