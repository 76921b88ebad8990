"""Policies: SB3's DQN policies with a choice of torso, streams and value head."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.dqn.policies import QNetwork as SB3QNetwork
from torch import nn

from sb3_dqn_ext.networks import (
    ActionValues,
    DataEfficientConv,
    Draw,
    ImpalaConv,
    MlpTorso,
    NatureConv,
    make_head,
    make_streams,
)


class QNetwork(SB3QNetwork):
    """
    Features, streams, head. With one stream and the scalar head it is SB3's ``QNetwork``, parameter for parameter.

    :param observation_space: Observation space
    :param action_space: Action space
    :param features_extractor: Features extractor (the torso)
    :param features_dim: Number of features
    :param net_arch: Units of the hidden layers in each stream
    :param activation_fn: Activation function
    :param normalize_images: Whether to divide images by 255
    :param dueling: Two streams, for the state's value and the actions' advantages
    :param head: ``scalar``, ``categorical``, ``quantile`` or ``implicit_quantile``
    :param head_kwargs: Arguments of the head
    :param sigma0: Initial noise of the streams' layers; if None, they are plain
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Discrete,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: list[int],
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        dueling: bool = False,
        head: str = "scalar",
        head_kwargs: dict[str, Any] | None = None,
        sigma0: float | None = None,
    ) -> None:
        # Not SB3's constructor: it would build one stream of its own.
        super(SB3QNetwork, self).__init__(
            observation_space, action_space, features_extractor=features_extractor, normalize_images=normalize_images
        )
        self.net_arch = net_arch
        self.activation_fn = activation_fn
        self.features_dim = features_dim
        self.dueling = dueling
        self.sigma0 = sigma0
        self.head_kwargs = head_kwargs or {}
        self.head = make_head(head, features_dim, self.head_kwargs)
        self.is_box = isinstance(observation_space, spaces.Box)
        self.scale = 255.0 if normalize_images and is_image_space(observation_space) else 1.0
        n_actions = int(action_space.n)
        self.q_net = make_streams(  # type: ignore[assignment]
            features_dim, n_actions, self.head.n_outputs, net_arch, activation_fn, dueling, sigma0
        )

    def features(self, obs: PyTorchObs) -> th.Tensor:
        """
        :param obs: Observation, [B, ...]
        :return: float32 [B, F], what the torso makes of it
        """
        if not self.is_box:
            return self.extract_features(obs, self.features_extractor)  # type: ignore[arg-type]
        # As SB3 does, which asks in every pass anew whether these are images: that cannot be compiled.
        assert isinstance(obs, th.Tensor)
        return self.features_extractor(obs.float() / self.scale if self.scale != 1.0 else obs.float())

    def forward(self, obs: PyTorchObs, draw: Draw = Draw.NONE) -> th.Tensor:
        """
        :param obs: Observation, [B, ...]
        :param draw: which randomness to draw
        :return: float32 [B, A], the expected return of each action
        """
        return self.head.q_values(self.features(obs), self.q_net, draw)

    def learned(self, obs: PyTorchObs, draw: Draw) -> ActionValues:
        """
        What the loss is computed from, as :meth:`ValueHead.learned`.

        :param obs: Observation, [B, ...]
        :param draw: which randomness to draw
        """
        return self.head.learned(self.features(obs), self.q_net, draw)

    def bootstrapped(self, obs: PyTorchObs, draw: Draw) -> tuple[ActionValues, th.Tensor]:
        """
        What a target is computed from, as :meth:`ValueHead.bootstrapped`.

        :param obs: Observation, [B, ...]
        :param draw: which randomness to draw
        """
        return self.head.bootstrapped(self.features(obs), self.q_net, draw)

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> th.Tensor:
        return self(observation, Draw.NONE if deterministic else Draw.PER_OBSERVATION).argmax(dim=1)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {
            "dueling": self.dueling,
            "head": self.head.kind,
            "head_kwargs": self.head_kwargs,
            "sigma0": self.sigma0,
        }


class DQNExtPolicy(DQNPolicy):
    """
    Policy with a Q-network and its target, for any algorithm of this package.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param net_arch: Units of the hidden layers of each stream. By default what the torso's paper has: ``[512]`` after
        ``NatureConv`` and ``ImpalaConv``, ``[256]`` after ``DataEfficientConv``, ``[64]`` after ``MlpTorso``; after any other
        extractor as SB3: ``[]`` after ``NatureCNN``, else ``[64, 64]``.
    :param activation_fn: Activation function
    :param features_extractor_class: Features extractor (torso) to use, by default the policy's :meth:`default_torso`
    :param features_extractor_kwargs: Keyword arguments of the features extractor
    :param normalize_images: Whether to divide images by 255.0
    :param optimizer_class: The optimizer to use, ``th.optim.Adam`` by default
    :param optimizer_kwargs: Additional keyword arguments of the optimizer, excluding the learning rate. Adam runs with
        ``fused=True`` unless they say otherwise: the same update in one pass over the memory.
    :param dueling: Two streams, for the state's value and the actions' advantages (Wang et al. 2016)
    :param noisy: Layers with learned noise in the streams (Fortunato et al. 2018), which explore in place of epsilon. Each
        update draws one noise for a whole batch in each pass, acting one for each environment, and deterministic prediction
        none.
    :param sigma0: Initial noise of the noisy layers
    :param head: What is estimated of each action's return: ``scalar`` (its expectation), ``categorical`` (C51), ``quantile``
        (QR-DQN) or ``implicit_quantile`` (IQN)
    :param head_kwargs: Arguments of the head: ``n_atoms``, ``v_min`` and ``v_max`` of ``categorical``, ``n_quantiles`` of
        ``quantile``, ``n_fractions``, ``n_target_fractions``, ``n_acting_fractions`` and ``n_cosines`` of
        ``implicit_quantile``
    """

    q_net: QNetwork
    q_net_target: QNetwork

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        dueling: bool = False,
        noisy: bool = False,
        sigma0: float = 0.5,
        head: str = "scalar",
        **head_kwargs: Any,
    ) -> None:
        if sigma0 < 0:
            raise ValueError(f"sigma0={sigma0} is not possible: use 0.5 as the paper, or any number from 0.")
        # Before DQNPolicy.__init__, which builds the networks
        self.dueling, self.noisy, self.sigma0, self.head, self.head_kwargs = dueling, noisy, sigma0, head, head_kwargs
        if features_extractor_class is None:
            features_extractor_class = self.default_torso()
        if net_arch is None:
            net_arch = getattr(features_extractor_class, "default_net_arch", None)
        optimizer_kwargs = dict(optimizer_kwargs or {})
        if optimizer_class is th.optim.Adam and "foreach" not in optimizer_kwargs:
            optimizer_kwargs.setdefault("fused", True)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch,
            activation_fn,
            features_extractor_class,
            features_extractor_kwargs,
            normalize_images,
            optimizer_class,
            optimizer_kwargs,
        )

    def default_torso(self) -> type[BaseFeaturesExtractor]:
        """
        :return: the features extractor of this policy
        """
        return MlpTorso if self.head == "implicit_quantile" else FlattenExtractor

    def make_q_net(self) -> QNetwork:
        """
        :return: a new Q-network with a features extractor of its own
        """
        net_args = self._update_features_extractor(self.net_args, features_extractor=None)
        # Convolutions are up to twice as fast with the channels innermost; the numbers stay the same.
        network = QNetwork(
            **net_args,
            dueling=self.dueling,
            head=self.head,
            head_kwargs=self.head_kwargs,
            sigma0=self.sigma0 if self.noisy else None,
        ).to(self.device)
        # In evaluation mode until train() switches: a look at the Q-values must not move the spectral norm's estimate.
        return network.to(memory_format=th.channels_last).eval()  # type: ignore[call-overload]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        ours = {"dueling": self.dueling, "noisy": self.noisy, "sigma0": self.sigma0, "head": self.head}
        return super()._get_constructor_parameters() | ours | self.head_kwargs


MlpPolicy = DQNExtPolicy


class CnnPolicy(DQNExtPolicy):
    """
    Policy for images: SB3's ``NatureCNN``, or with ``dueling``, ``noisy`` or the implicit quantile head the same convolutions
    and the hidden layer in the streams, as in the papers. The parameters are those of :class:`DQNExtPolicy`.
    """

    def default_torso(self) -> type[BaseFeaturesExtractor]:
        """
        :return: the features extractor of this policy
        """
        return NatureConv if self.dueling or self.noisy or self.head == "implicit_quantile" else NatureCNN


class DataEfficientCnnPolicy(DQNExtPolicy):
    """
    Policy for images with the small torso of data-efficient Rainbow (van Hasselt et al. 2019). The parameters are those of
    :class:`DQNExtPolicy`.
    """

    def default_torso(self) -> type[BaseFeaturesExtractor]:
        """
        :return: the features extractor of this policy
        """
        return DataEfficientConv


class ImpalaCnnPolicy(DQNExtPolicy):
    """
    Policy for images with the residual torso of IMPALA as Beyond the Rainbow has it (Clark et al. 2024); about 60 times
    the operations of Nature's. The parameters are those of :class:`DQNExtPolicy`, ``features_extractor_kwargs`` those of
    ``ImpalaConv``.
    """

    def default_torso(self) -> type[BaseFeaturesExtractor]:
        """
        :return: the features extractor of this policy
        """
        return ImpalaConv


class MultiInputPolicy(DQNExtPolicy):
    """Policy for Dict observations. The parameters are those of :class:`DQNExtPolicy`."""

    def default_torso(self) -> type[BaseFeaturesExtractor]:
        """
        :return: the features extractor of this policy
        """
        return CombinedExtractor
