"""Where patients lie to each other: t-SNE, and the order of a hierarchical clustering."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float

SEED = 20240101
MOST_COMPONENTS = 50
USUAL_PERPLEXITY = 30.0


def perplexity_for(n: int) -> float:
    """30 as usual, less where a third of the other patients are fewer."""
    return float(min(USUAL_PERPLEXITY, max(1.0, (n - 1) / 3)))


def tsne(values: Float) -> Float:
    """Places (n, 2) of rows (n, p), by t-SNE (van der Maaten and Hinton 2008); always the same.

    Principal components first, at most 50, as its authors advise for many columns.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    most = min(MOST_COMPONENTS, values.shape[0] - 1, values.shape[1])
    reduced = PCA(most, svd_solver="full", random_state=SEED).fit_transform(values)
    start = np.zeros((len(reduced), 2))
    start[:, : min(2, most)] = reduced[:, :2]
    # small, as t-SNE wants to begin
    start *= 1e-4 / max(float(start[:, 0].std()), 1e-12)
    places: Float = TSNE(
        2, perplexity=perplexity_for(len(values)), init=start, random_state=SEED, method="exact"
    ).fit_transform(reduced)
    return places


def clustered(values: Float) -> tuple[Float, NDArray[np.int64]]:
    """Linkage of rows (n, p) by average Euclidean distance, and the order of its leaves (n,)."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    tree: Float = linkage(values, "average", optimal_ordering=len(values) <= 1000)
    return tree, leaves_list(tree).astype(np.int64)
