"""How far apart the classes are in the features of each exit."""

import math
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
from mmengine.model import BaseModel
from rich.progress import track
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import calinski_harabasz_score
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.errors import CheckpointError, ConfigError, DatasetError
from mmrazor_byot.evaluation.collect import check_classes, network_inputs
from mmrazor_byot.exits import ExitOutput
from mmrazor_byot.exits.shapes import eval_no_grad

PROJECTIONS = ('pca', 'tsne')


class ExitFeatures(NamedTuple):
    """What one exit makes of a data set.

    Attributes:
        features (np.ndarray): Before the classifier, (M, D) float32.
        answers (np.ndarray): Most probable classes, (M,).
    """

    features: np.ndarray
    answers: np.ndarray


def collect_features(model: BaseModel, loader: DataLoader) -> Tuple[List[ExitFeatures], np.ndarray]:
    """Run a network over labelled images, and keep the features.

    Args:
        model (BaseModel): BYOT, or a plain classifier, which has one exit.
        loader (DataLoader): The images.

    Returns:
        tuple: For exit 1 to C what it made of M images; their labels, (M,).

    Raises:
        CheckpointError: A feature is NaN or infinite.
        DatasetError: A label is not a class of the network.
    """
    parts, labels = [], []
    with eval_no_grad(model):
        for batch in track(loader, description='Images', transient=True):
            images, target = network_inputs(model, batch)
            outputs = exit_outputs(model, images)
            parts.append(
                [
                    (out.feature.float().cpu().numpy(), out.logits.argmax(1).cpu().numpy())
                    for out in outputs
                ]
            )
            labels.append(target)
    labels = np.concatenate(labels)
    check_classes(labels, outputs[-1].logits.shape[1])
    found = [ExitFeatures(*map(np.concatenate, zip(*exit_parts))) for exit_parts in zip(*parts)]
    for number, exit_found in enumerate(found, start=1):
        if not np.isfinite(exit_found.features).all():
            raise CheckpointError(
                f'exit {number}/{len(found)} gives features that are not finite: the weights are '
                'damaged, or come of a training that diverged'
            )
    return found, labels


def exit_outputs(model: BaseModel, images: Tensor) -> List[ExitOutput]:
    """Features and logits of every exit; a plain classifier has one.

    Args:
        model (BaseModel): BYOT, or mmpretrain's ``ImageClassifier``.
        images (Tensor): Preprocessed images, (N, 3, H, W).

    Raises:
        ConfigError: A plain network has no head, or no feature (N, D).
    """
    if hasattr(model, 'forward_exits'):
        return model.forward_exits(images)
    if not hasattr(getattr(model, 'head', None), 'pre_logits'):
        raise ConfigError(
            f'a {type(model).__name__} does not show its feature; give a mmrazor_byot.BYOT or an '
            'ImageClassifier with a head'
        )
    feats = model.extract_feat(images)
    feature = model.head.pre_logits(feats)
    if feature.ndim != 2:
        raise ConfigError(
            f'the feature of {type(model.head).__name__} has shape {tuple(feature.shape)}, not (N, '
            'D)'
        )
    return [ExitOutput(feature, model.head(feats))]


def sums_of_squares(features: np.ndarray, labels: np.ndarray) -> Dict[str, float]:
    r"""Squares between and within the classes (the discussion of the paper).

    With :math:`n_k` samples of mean :math:`\mu_k` in class k, and :math:`\mu` the mean of all M
    samples:

    .. math::
        SSB = \sum_k n_k \|\mu_k - \mu\|^2, \quad
        SSW = \sum_n \|x_n - \mu_{y_n}\|^2

    The larger SSB / SSW, the easier the classes are told apart. It grows with the number of classes
    at fixed M; the Calinski-Harabasz number, SSB / (K - 1) by SSW / (M - K), takes their degrees of
    freedom out.

    Args:
        features (np.ndarray): (M, D).
        labels (np.ndarray): Class indices, (M,), of K different classes.

    Returns:
        dict[str, float]: ``ssb``, ``ssw``, their ratio ``ssb_ssw``, and ``calinski_harabasz``. The
        ratios are infinite where all samples of a class are alike, NaN where all samples are.

    Raises:
        DatasetError: Fewer than two classes, or one sample in each.
    """
    samples, classes = len(labels), np.unique(labels)
    count = len(classes)
    if not 1 < count < samples:
        raise DatasetError(
            f'{samples} images of {count} classes: take images of several classes, and several of '
            'a class'
        )
    x = np.asarray(features, np.float64)
    ssw = float(sum(((x[labels == k] - x[labels == k].mean(0)) ** 2).sum() for k in classes))
    ssb = float(((x - x.mean(0)) ** 2).sum()) - ssw
    # scikit-learn says 1 where the classes have no spread.
    ratio = calinski_harabasz_score(x, labels) if ssw else math.inf if ssb else math.nan
    return dict(
        ssb=ssb, ssw=ssw, ssb_ssw=ratio * (count - 1) / (samples - count), calinski_harabasz=ratio
    )


def shown_classes(labels: np.ndarray, count: int) -> Tuple[np.ndarray, np.ndarray]:
    """The classes to draw.

    Args:
        labels (np.ndarray): Of M images, (M,).
        count (int): How many to draw.

    Returns:
        tuple: Their numbers, rising; and which images are theirs, (M,) bool.

    Raises:
        DatasetError: They have fewer than three images.
    """
    shown = np.unique(labels)[:count]
    drawn = np.isin(labels, shown)
    if drawn.sum() < 3:
        raise DatasetError(
            f'the first {len(shown)} classes have {drawn.sum()} images, too few to draw; take more '
            'classes or images'
        )
    return shown, drawn


def project(
    features: np.ndarray, method: str = 'pca', seed: int = 0
) -> Tuple[np.ndarray, List[float]]:
    """Bring features to two dimensions, to be drawn.

    Args:
        features (np.ndarray): (M, D).
        method (str): ``'pca'``, the two directions of most variance; or ``'tsne'``, t-SNE begun
            from it, which keeps neighbours together and says nothing about distances.
        seed (int): For t-SNE.

    Returns:
        tuple: Points (M, 2); and by direction the fraction of the variance, empty for t-SNE.

    Raises:
        ConfigError: Too few features or samples.
    """
    samples, size = features.shape
    if size < 2 or samples < 3:
        raise ConfigError(f'{samples} features of {size} numbers have no projection to a plane')
    x = np.asarray(features, np.float64)
    if method == 'tsne':
        tsne = TSNE(perplexity=min(30, (samples - 1) / 3), init='pca', random_state=seed)
        return tsne.fit_transform(x), []
    pca = PCA(2, svd_solver='full')
    return pca.fit_transform(x), pca.explained_variance_ratio_.tolist()
