"""Children of MMEngine's registries, with scope ``mmrazor_byot``.

For ``type='mmrazor_byot.X'`` in a config, MMEngine imports this module, and then the ``locations``
of the registry that it searches.
"""

from mmengine import registry as root
from mmengine.registry import Registry

SCOPE = 'mmrazor_byot'

MODELS = Registry('model', parent=root.MODELS, scope=SCOPE, locations=['mmrazor_byot.models'])
DATASETS = Registry(
    'dataset', parent=root.DATASETS, scope=SCOPE, locations=['mmrazor_byot.datasets']
)
METRICS = Registry(
    'metric', parent=root.METRICS, scope=SCOPE, locations=['mmrazor_byot.evaluation']
)
EVALUATOR = Registry(
    'evaluator', parent=root.EVALUATOR, scope=SCOPE, locations=['mmrazor_byot.evaluation']
)
HOOKS = Registry('hook', parent=root.HOOKS, scope=SCOPE, locations=['mmrazor_byot.engine'])
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=root.OPTIM_WRAPPERS, scope=SCOPE, locations=['mmrazor_byot.engine']
)
FUNCTIONS = Registry(
    'function',
    parent=root.FUNCTIONS,
    scope=SCOPE,
    locations=['mmrazor_byot.engine', 'mmrazor_byot.datasets'],
)
TRANSFORMS = Registry(
    'transform',
    parent=root.TRANSFORMS,
    scope=SCOPE,
    locations=['mmrazor_byot.datasets.transforms'],
)
