"""Calibrate the exit policy of a network on a loader of held-out images."""

from typing import NamedTuple, Optional, Sequence

from torch.utils.data import DataLoader

from mmrazor_byot.early_exit import PolicyFile, StagedNetwork
from mmrazor_byot.early_exit.measure import stage_times
from mmrazor_byot.evaluation import stage_flops
from mmrazor_byot.evaluation.collect import Network, collect_logits, network_inputs

from .calibrate import Goal, calibrate
from .report import calibration_facts, format_calibration
from .threshold_search import Costs


class NetworkCalibration(NamedTuple):
    """The result of :func:`calibrate_network`."""

    file: PolicyFile  # with the policy; ``file.save('policy.json')`` writes it
    table: str  # the exits and the policies that were compared

    def __str__(self) -> str:
        return self.table

    def _repr_markdown_(self) -> str:  # for notebooks
        return self.table.replace('\n* is', '\n\n\\* is')  # not a list


def calibrate_network(
    model: Network,
    loader: DataLoader,
    max_drop: Optional[float] = None,
    budget: Optional[float] = None,
    latency_ms: Optional[float] = None,
    costs: Optional[Costs] = None,
    kinds: Sequence[str] = ('ConfidencePolicy',),
    ensembles: Sequence[bool] = (False, True),
) -> NetworkCalibration:
    """Find an exit policy on labelled images that the exits were not trained on.

    Args:
        model (BYOT | ExitNetwork): The network, on the device where it is to run.
        loader (DataLoader): The images: batches of a data set of mmpretrain or, for a plain torch
            network, of images (N, C, H, W) and labels (N,).
        max_drop (float, optional): Lose at most so many percentage points of accuracy against the
            deepest exit, at the least cost. One of the three is needed.
        budget (float, optional): Have the best accuracy at this fraction of the deepest cost.
        latency_ms (float, optional): The same at so many ms an image, at batch size 1 in torch, or
            in the unit of ``costs``.
        costs (Costs, optional): Cost of each exit. Defaults to MACs, with ``latency_ms`` to times.
        kinds, ensembles: See :func:`calibrate`.

    Raises:
        ConfigError: There are too few images, or no policy can reach the goal.
        DatasetError: A label is not a class of the network.
    """
    if costs is None and latency_ms is not None:
        images, _ = network_inputs(model, next(iter(loader)))
        costs = Costs.of_stages(**stage_times(StagedNetwork(model), images[:1]), unit='ms')
    elif costs is None:
        macs = stage_flops(model, model.input_size)
        costs = Costs.of_stages(macs['sections'], macs['heads'])
    data = collect_logits(model, loader)
    goal = Goal(max_drop, budget, latency_ms)
    found = calibrate(*data, costs, goal, kinds, ensembles)
    facts = calibration_facts(found, costs)
    target = dict(max_drop=max_drop, budget=budget, latency_ms=latency_ms)
    facts.update(images=len(data.labels), target=target)
    file = PolicyFile(found.policy, model.num_exits, model.num_classes, facts)
    return NetworkCalibration(file, format_calibration(found, costs))
