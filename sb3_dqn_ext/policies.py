"""Policies: SB3's DQN policies with a choice of torso, streams and value head."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.dqn.policies import QNetwork as SB3QNetwork
from torch import nn

from sb3_dqn_ext.networks import DataEfficientConv, NatureConv, ScalarHead, ValueHead, make_streams


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
    ) -> None:
        # Not SB3's constructor: it would build one stream of its own.
        super(SB3QNetwork, self).__init__(
            observation_space, action_space, features_extractor=features_extractor, normalize_images=normalize_images
        )
        self.net_arch = net_arch
        self.activation_fn = activation_fn
        self.features_dim = features_dim
        self.dueling = dueling
        self.n_actions = int(action_space.n)
        self.head: ValueHead = ScalarHead()
        streams = make_streams(features_dim, self.n_actions, self.head.n_outputs, net_arch, activation_fn, dueling)
        self.q_net = streams  # type: ignore[assignment]

    def values(self, obs: PyTorchObs) -> th.Tensor:
        """
        :param obs: Observation, [B, ...]
        :return: float32 [B, A, N], what the head's kind says of each action
        """
        features = self.extract_features(obs, self.features_extractor)  # type: ignore[arg-type]
        return self.q_net(features).unflatten(1, (self.n_actions, self.head.n_outputs))

    def forward(self, obs: PyTorchObs) -> th.Tensor:
        """
        :param obs: Observation, [B, ...]
        :return: float32 [B, A], the expected return of each action
        """
        return self.head.q_values(self.values(obs))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"dueling": self.dueling}


class DQNExtPolicy(DQNPolicy):
    """
    Policy with a Q-network and its target, for any algorithm of this package.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param net_arch: Units of the hidden layers of each stream. By default what the torso's paper has: ``[512]`` after
        ``NatureConv``, ``[256]`` after ``DataEfficientConv``; after any other extractor as SB3: ``[]`` after ``NatureCNN``,
        else ``[64, 64]``.
    :param activation_fn: Activation function
    :param features_extractor_class: Features extractor (torso) to use, by default the policy's :meth:`default_torso`
    :param features_extractor_kwargs: Keyword arguments of the features extractor
    :param normalize_images: Whether to divide images by 255.0
    :param optimizer_class: The optimizer to use, ``th.optim.Adam`` by default
    :param optimizer_kwargs: Additional keyword arguments of the optimizer, excluding the learning rate. Adam runs with
        ``fused=True`` unless they say otherwise: the same update in one pass over the memory.
    :param dueling: Two streams, for the state's value and the actions' advantages (Wang et al. 2016)
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
    ) -> None:
        self.dueling = dueling  # DQNPolicy.__init__ builds the networks
        if features_extractor_class is None:
            features_extractor_class = self.default_torso(dueling)
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

    @staticmethod
    def default_torso(dueling: bool) -> type[BaseFeaturesExtractor]:
        """
        :param dueling: whether there are two streams
        :return: the features extractor of this policy
        """
        return FlattenExtractor

    def make_q_net(self) -> QNetwork:
        """
        :return: a new Q-network with a features extractor of its own
        """
        net_args = self._update_features_extractor(self.net_args, features_extractor=None)
        # Convolutions are up to twice as fast with the channels innermost; the numbers stay the same.
        network = QNetwork(**net_args, dueling=self.dueling).to(self.device)
        return network.to(memory_format=th.channels_last)  # type: ignore[call-overload]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"dueling": self.dueling}


MlpPolicy = DQNExtPolicy


class CnnPolicy(DQNExtPolicy):
    """
    Policy for images: SB3's ``NatureCNN``, or with ``dueling`` the same convolutions with both streams starting right after
    them, as in the paper. The parameters are those of :class:`DQNExtPolicy`.
    """

    @staticmethod
    def default_torso(dueling: bool) -> type[BaseFeaturesExtractor]:
        """
        :param dueling: whether there are two streams
        :return: the features extractor of this policy
        """
        return NatureConv if dueling else NatureCNN


class DataEfficientCnnPolicy(DQNExtPolicy):
    """
    Policy for images with the small torso of data-efficient Rainbow (van Hasselt et al. 2019). The parameters are those of
    :class:`DQNExtPolicy`.
    """

    @staticmethod
    def default_torso(dueling: bool) -> type[BaseFeaturesExtractor]:
        """
        :param dueling: whether there are two streams
        :return: the features extractor of this policy
        """
        return DataEfficientConv


class MultiInputPolicy(DQNExtPolicy):
    """Policy for Dict observations. The parameters are those of :class:`DQNExtPolicy`."""

    @staticmethod
    def default_torso(dueling: bool) -> type[BaseFeaturesExtractor]:
        """
        :param dueling: whether there are two streams
        :return: the features extractor of this policy
        """
        return CombinedExtractor
