"""Keeps the moving average that teaches."""
from mmengine.hooks import EMAHook

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.teachers import AveragedTeacher
from mmrazor_byot.registry import HOOKS

from .unwrap import unwrap


@HOOKS.register_module()
class AveragedTeacherHook(EMAHook):
    """MMEngine's ``EMAHook`` for ``teacher=dict(type='AveragedTeacher')``.

    As with ``EMAHook``, the average is what is tested and what a checkpoint
    holds as ``state_dict``.

    Args:
        ema_type (str): Defaults to ``ExponentialMovingAverage`` of this
            package.
        momentum (float): Share of the new weights in each step. Defaults to
            0.005.
        **kwargs: As in ``EMAHook``.

    Raises:
        ConfigError: The model's teacher is another one.
    """

    def __init__(self,
                 ema_type: str = 'mmrazor_byot.ExponentialMovingAverage',
                 momentum: float = 0.005,
                 **kwargs) -> None:
        super().__init__(ema_type, momentum=momentum, **kwargs)

    def before_run(self, runner) -> None:
        """Make the average, and let the teacher follow it."""
        super().before_run(runner)
        teacher = getattr(unwrap(runner.model), 'teacher', None)
        if not isinstance(teacher, AveragedTeacher):
            raise ConfigError(
                'AveragedTeacherHook is for model.teacher=dict(type='
                f"'mmrazor_byot.AveragedTeacher'), not {teacher}")
        # Batch norm by the batch, as the student: its own running numbers
        # are those of other weights.
        teacher.follow(self.ema_model.module.train())
