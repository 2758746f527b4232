"""Trained networks on their way out."""
from .export import ExportedStudent, export_student
from .student import student_config, student_weights

__all__ = [
    'ExportedStudent', 'export_student', 'student_config', 'student_weights'
]
