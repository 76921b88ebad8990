"""How an update is run: eagerly, with its loss compiled, or replayed as a captured CUDA graph. The results are the same."""

import warnings
from collections.abc import Callable

import torch as th
from torch.utils._pytree import tree_map

from sb3_dqn_ext.replay import Batch

Figures = tuple[th.Tensor, ...]  # the loss first
Loss = Callable[[Batch], Figures]
Descend = Callable[[th.Tensor], None]

WARM_UPS = 3  # updates on a side stream before the capture, as torch's notes on CUDA graphs ask


class Update:
    """
    Operation by operation, and the base of the other ways.

    :param loss: computes the loss
    :param descend: backward, clip, optimise
    :param optimizer: whose learning rate is set
    """

    def __init__(self, loss: Loss, descend: Descend, optimizer: th.optim.Optimizer) -> None:
        self.loss, self.descend, self.optimizer = loss, descend, optimizer

    def __call__(self, batch: Batch) -> Figures:
        """
        :param batch: B transitions
        :return: the loss and what else it gives, detached
        """
        loss, *others = self.loss(batch)
        self.descend(loss)
        return loss.detach(), *others

    def set_learning_rate(self, learning_rate: float) -> None:
        """
        :param learning_rate: of the updates to come
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate


class CompiledUpdate(Update):
    """
    Forward and backward pass compiled by ``torch.compile``; the random draws stay those of the eager mode.

    :param loss: computes the loss
    :param descend: backward, clip, optimise
    :param optimizer: whose learning rate is set
    """

    def __init__(self, loss: Loss, descend: Descend, optimizer: th.optim.Optimizer) -> None:
        compiled = th.compile(loss, dynamic=False, options={"fallback_random": True})
        super().__init__(compiled, descend, optimizer)


class CudaGraphUpdate(Update):
    """
    The whole update, optimizer included, captured once and replayed: the host launches one graph in place of hundreds of
    kernels. Batches are copied into fixed memory; the learning rate is a tensor that the graph reads.

    :param loss: computes the loss
    :param descend: backward, clip, optimise
    :param optimizer: one that can be ``capturable``
    """

    def __init__(self, loss: Loss, descend: Descend, optimizer: th.optim.Optimizer) -> None:
        super().__init__(loss, descend, optimizer)
        self.device = optimizer.param_groups[0]["params"][0].device
        self.learning_rate = th.tensor(float(optimizer.param_groups[0]["lr"]), device=self.device)
        self.n_warm_ups = 0
        self.batch: Batch | None = None
        self.graph = th.cuda.CUDAGraph()
        self.figures: Figures | None = None
        for group in optimizer.param_groups:
            group["capturable"] = True
            group["lr"] = self.learning_rate
            for state in (optimizer.state[parameter] for parameter in group["params"] if parameter in optimizer.state):
                state["step"] = state["step"].to(self.device)

    def __call__(self, batch: Batch) -> Figures:
        """
        :param batch: B transitions, of the same shapes every time
        :return: the loss and what else it gives, detached
        """
        with th.cuda.device(self.device):  # streams and graphs belong to the current device
            if self.batch is None:
                self.batch = tree_map(th.clone, batch)
            else:
                tree_map(_refill, self.batch, batch)
            if self.n_warm_ups < WARM_UPS:
                self.n_warm_ups += 1
                return self._warm_up(self.batch)
            if self.figures is None:
                # The graph writes to this memory, so it must outlive whatever replaces the optimizer's state.
                self.state = [tensor for state in self.optimizer.state.values() for tensor in state.values()]
                with th.cuda.graph(self.graph):  # records, does not run
                    self.figures = super().__call__(self.batch)
            self.graph.replay()
            return tuple(figure.clone() for figure in self.figures)

    def _warm_up(self, batch: Batch) -> Figures:
        stream = th.cuda.Stream()
        stream.wait_stream(th.cuda.current_stream())
        with th.cuda.stream(stream), warnings.catch_warnings():
            # torch wonders at a capturable optimizer that is not captured: it will be
            warnings.filterwarnings("ignore", message=".*capturable.*")
            figures = super().__call__(batch)
        th.cuda.current_stream().wait_stream(stream)
        return figures

    def set_learning_rate(self, learning_rate: float) -> None:
        """
        :param learning_rate: of the updates to come
        """
        self.learning_rate.fill_(learning_rate)


def _refill(fixed: th.Tensor, new: th.Tensor) -> None:
    assert fixed.shape == new.shape, "a captured graph runs on batches of one shape"
    fixed.copy_(new)


EXECUTIONS: dict[str, type[Update]] = {
    "eager": Update,
    "compile": CompiledUpdate,
    "cuda_graph": CudaGraphUpdate,
}
