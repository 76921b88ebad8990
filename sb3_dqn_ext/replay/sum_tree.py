"""A sum tree of fan-out 128: three levels hold two million priorities, so NumPy's overhead is paid three times, not twenty."""

import numpy as np

FAN_OUT = 128


class SumTree:
    """
    Sample indices in proportion to their priority (Schaul et al. 2016, arXiv 1511.05952, appendix B.2.1).

    Priorities are float64. Parents are recomputed from their children, never adjusted by a difference, so rounding does
    not build up. An index of priority 0 is never sampled.

    :param capacity: number of leaves, at least 1
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        # levels[0] are the leaves, levels[-1] is the root's row of children; each is [nodes, FAN_OUT].
        self.levels: list[np.ndarray] = []
        size = capacity
        while True:
            n_nodes = -(-size // FAN_OUT)
            self.levels.append(np.zeros((n_nodes, FAN_OUT)))
            if n_nodes == 1:
                break
            size = n_nodes
        self.n_positive = 0

    @property
    def total(self) -> float:
        """Sum of all priorities."""
        return float(self.levels[-1].sum())

    def get(self, indices: np.ndarray) -> np.ndarray:
        """
        :param indices: int64 [B]
        :return: float64 [B], their priorities
        """
        return self.levels[0].reshape(-1)[indices]

    def set(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """
        Replace priorities. Where an index occurs twice, its last priority holds; the two must be both zero or both not.

        :param indices: int64 [B]
        :param priorities: float64 [B], finite and >= 0
        """
        if not (np.isfinite(priorities).all() and (priorities >= 0).all()):
            bad = priorities[~(np.isfinite(priorities) & (priorities >= 0))][0]
            raise ValueError(f"A priority must be finite and not negative, got {bad}: has the training diverged?")
        leaves = self.levels[0].reshape(-1)
        self.n_positive += int(np.count_nonzero(priorities)) - int(np.count_nonzero(leaves[indices]))
        leaves[indices] = priorities
        nodes = indices
        for level, parent in zip(self.levels[:-1], self.levels[1:], strict=True):
            if len(nodes) >= len(level):
                parent.reshape(-1)[: len(level)] = level.sum(axis=1)
            else:
                nodes = nodes // FAN_OUT
                parent.reshape(-1)[nodes] = level[nodes].sum(axis=1)

    def find(self, masses: np.ndarray) -> np.ndarray:
        """
        Find the leaf where the running sum of priorities passes each mass.

        :param masses: float64 [B], in [0, total)
        :return: int64 [B], indices whose priority is positive
        """
        rows = np.arange(len(masses))
        nodes = np.zeros(len(masses), dtype=np.int64)
        for level in reversed(self.levels):
            sums = level[nodes].cumsum(axis=1)
            # A parent's sum can exceed its children's running sum by rounding: stay below the last one, where the first
            # running sum above the mass always belongs to a child that is not zero.
            masses = np.minimum(masses, np.nextafter(sums[:, -1], 0.0))
            child = (sums <= masses[:, None]).sum(axis=1)
            masses = masses - np.where(child > 0, sums[rows, child - 1], 0.0)
            nodes = nodes * FAN_OUT + child
        return nodes

    def sample(self, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """
        Draw one index from each of ``batch_size`` equal ranges of the total (stratified, as in the paper).

        :param batch_size: B, at least 1
        :param rng: where the randomness comes from
        :return: int64 [B], with repetition possible
        """
        assert self.n_positive > 0, "nothing to sample"
        return self.find((np.arange(batch_size) + rng.random(batch_size)) * (self.total / batch_size))
