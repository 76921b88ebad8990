"""Presets: ComposableDQN with the extensions of one paper switched on."""

import difflib
import inspect
from typing import Any, ClassVar

from sb3_dqn_ext.composable_dqn import ComposableDQN
from sb3_dqn_ext.networks import HEADS
from sb3_dqn_ext.policies import DQNExtPolicy

_SIGNATURE = inspect.signature(ComposableDQN.__init__)
_POLICY_PARTS: tuple[type, ...] = (DQNExtPolicy, *HEADS.values())
_POLICY_ARGUMENTS = {name for part in _POLICY_PARTS for name in inspect.signature(part).parameters}


def _hint(arguments: dict[str, Any]) -> str:
    """
    :param arguments: keyword arguments as the user wrote them
    :return: what the first unknown one may have meant
    """
    unknown = next((name for name in arguments if name not in _SIGNATURE.parameters), "")
    if unknown in _POLICY_ARGUMENTS:
        return f"; it belongs into policy_kwargs=dict({unknown}=...)"
    nearest = difflib.get_close_matches(unknown, _SIGNATURE.parameters, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _merge(preset: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """
    :param preset: a preset's ``policy_kwargs``
    :param given: the user's, which win
    :return: both, without what the preset says of a head or an optimizer that the user replaced
    """
    dropped: set[str] = set()
    if "head" in preset and given.get("head", preset["head"]) != preset["head"]:
        dropped |= set(inspect.signature(HEADS[preset["head"]]).parameters)
    if "optimizer_class" in given:
        dropped.add("optimizer_kwargs")
    return {name: value for name, value in preset.items() if name not in dropped} | given


class Preset(ComposableDQN):
    """Base of the presets: defaults that differ from ComposableDQN's. An explicit argument wins."""

    preset: ClassVar[dict[str, Any]] = {}
    preset_policy_kwargs: ClassVar[dict[str, Any]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            given = _SIGNATURE.bind_partial(self, *args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}{_hint(kwargs)}") from None
        del given["self"]
        given["policy_kwargs"] = _merge(self.preset_policy_kwargs, given.get("policy_kwargs") or {})
        preset = self.preset
        if self.preset_policy_kwargs.get("noisy") and not given["policy_kwargs"]["noisy"]:
            # Without the noise nothing would explore: epsilon is ComposableDQN's again.
            preset = {name: value for name, value in preset.items() if not name.startswith("exploration_")}
        super().__init__(**(preset | given))

    def __init_subclass__(cls) -> None:
        cls.log_name = cls.__name__
        # So that help() and editors show the arguments and what this preset's defaults are.
        parameters = [p.replace(default=cls.preset.get(p.name, p.default)) for p in _SIGNATURE.parameters.values()]
        cls.__signature__ = _SIGNATURE.replace(parameters=parameters[1:])  # type: ignore[attr-defined]


class DoubleDQN(Preset):
    """
    Double DQN (van Hasselt, Guez & Silver 2016, arXiv 1509.06461): the online network selects the next action, the target
    network values it, which removes most of the overestimation of DQN's maximum.

    On: ``double_q``. The parameters are those of :class:`ComposableDQN`.

    Deviations from the paper: SB3's defaults (Adam at 1e-4, gradient norm clipped at 10, final epsilon 0.05, target network
    every 10,000 environment steps). The "tuned" version of the paper (30,000 steps, epsilon 0.01, one bias shared by all
    actions) is not the default.
    """

    preset: ClassVar[dict[str, Any]] = {"double_q": True}


class DuelingDQN(Preset):
    """
    Dueling Double DQN (Wang et al. 2016, arXiv 1511.06581): two streams estimate the state's value and the actions'
    advantages, centred by their mean (eq. 9). With ``CnnPolicy`` both streams start after the convolutions and have 512
    hidden units each.

    On: ``policy_kwargs=dict(dueling=True)`` and ``double_q``, as in the paper. The parameters are those of
    :class:`ComposableDQN`.

    Deviations from the paper: SB3's defaults (Adam at 1e-4 for RMSProp), and the gradient that both streams send into the
    convolutions is not scaled by 1/sqrt(2).
    """

    preset: ClassVar[dict[str, Any]] = {"double_q": True}
    preset_policy_kwargs: ClassVar[dict[str, Any]] = {"dueling": True}


class PrioritizedDQN(Preset):
    """
    Double DQN with proportional prioritized replay (Schaul et al. 2016, arXiv 1511.05952): alpha 0.6, beta from 0.4 to 1.

    On: ``double_q`` and ``prioritized_replay``, as in the paper. The parameters are those of :class:`ComposableDQN`.

    Deviations from the paper: SB3's defaults (Adam at 1e-4; the paper divides the learning rate of its baseline by four).
    Importance weights are divided by the largest in the batch.
    """

    preset: ClassVar[dict[str, Any]] = {"double_q": True, "prioritized_replay": True}


class NoisyDQN(Preset):
    """
    NoisyNet-DQN (Fortunato et al. 2018, arXiv 1706.10295): the layers after the convolutions have learned, factorised noise,
    which explores in place of epsilon.

    On: ``policy_kwargs=dict(noisy=True)`` with the paper's sigma0 of 0.5, and epsilon is 0. The parameters are those of
    :class:`ComposableDQN`.

    Deviations from the paper: SB3's defaults (Adam at 1e-4, gradient norm clipped at 10, target network every 10,000
    environment steps). Each environment acts with a new noise at every step; the paper keeps one until the next update.
    Deterministic prediction has no noise.
    """

    preset: ClassVar[dict[str, Any]] = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}
    preset_policy_kwargs: ClassVar[dict[str, Any]] = {"noisy": True}


class C51(Preset):
    """
    Categorical DQN (Bellemare, Dabney & Munos 2017, arXiv 1707.06887): a distribution over 51 returns from ``v_min`` to
    ``v_max`` for each action, learned by cross-entropy to the projected target.

    On: ``policy_kwargs=dict(head="categorical")``; ``n_atoms=51``, ``v_min=-10`` and ``v_max=10`` suit Atari's clipped rewards
    and must hold the discounted returns elsewhere. With ``prioritized_replay`` the cross-entropy is the priority. The
    parameters are those of :class:`ComposableDQN`.

    Deviations from the paper: SB3's defaults; the paper's learning rate and Adam epsilon stand in ``zoo_configs/c51.yml``.
    """

    preset_policy_kwargs: ClassVar[dict[str, Any]] = {"head": "categorical"}


class QRDQN(Preset):
    """
    Quantile-regression DQN (Dabney et al. 2018, arXiv 1710.10044), QR-DQN-1: 200 quantiles of the return of each action,
    learned by the quantile Huber loss with threshold 1.

    On: ``policy_kwargs=dict(head="quantile")``. One update equals sb3-contrib's ``QRDQN``. With ``prioritized_replay`` the
    absolute error of the expected return is the priority. The parameters are those of :class:`ComposableDQN`.

    Deviations from the paper: SB3's defaults; the paper's learning rate and Adam epsilon stand in ``zoo_configs/qr_dqn.yml``.
    """

    preset_policy_kwargs: ClassVar[dict[str, Any]] = {"head": "quantile"}


class IQN(Preset):
    """
    Implicit quantile network (Dabney et al. 2018, arXiv 1806.06923): quantiles at random fractions, which enter the network
    by a cosine embedding; 64 fractions learn, 64 make the target, 32 choose the action.

    On: ``policy_kwargs=dict(head="implicit_quantile")``. With ``prioritized_replay`` the absolute error of the expected return
    is the priority. The parameters are those of :class:`ComposableDQN`.

    Deviations from the paper: SB3's defaults; the paper's learning rate and Adam epsilon stand in ``zoo_configs/iqn.yml``. No
    risk-sensitive policies. Deterministic prediction takes evenly spaced fractions. ``MlpPolicy`` puts a hidden layer before
    the embedding, because the paper is about pixels only.
    """

    preset_policy_kwargs: ClassVar[dict[str, Any]] = {"head": "implicit_quantile"}


class MunchausenDQN(Preset):
    """
    Munchausen DQN (Vieillard, Pietquin & Geist 2020, arXiv 2007.14430): the scaled log-policy is added to the reward, and
    the target is the soft value; alpha 0.9, temperature 0.03, clipped at -1.

    On: ``munchausen``; with ``policy_kwargs=dict(head="implicit_quantile")`` it is the paper's M-IQN. The parameters are those
    of :class:`ComposableDQN`.

    Deviations from the paper: SB3's defaults, and the Huber loss in place of the squared one; the paper's learning rate and
    Adam epsilon stand in ``zoo_configs/munchausen_dqn.yml``. The temperature is in units of the reward: the paper's suits
    rewards clipped to [-1, 1]. With ``n_steps`` > 1 only the window's first reward gets the bonus.
    """

    preset: ClassVar[dict[str, Any]] = {"munchausen": True}


class Rainbow(Preset):
    """
    Rainbow (Hessel et al. 2018, arXiv 1710.02298): double, dueling, prioritized, 3-step, noisy and categorical at once.

    On: ``double_q``, ``prioritized_replay`` with exponent 0.5 and the cross-entropy as the priority, ``n_steps=3``,
    ``policy_kwargs=dict(head="categorical", dueling=True, noisy=True)``, and epsilon is 0. The parameters are those of
    :class:`ComposableDQN`. ``zoo_configs/rainbow.yml`` has the paper's numbers for Atari, ``zoo_configs/
    data_efficient_rainbow.yml`` those for 100k steps (van Hasselt et al. 2019, arXiv 1906.05243).

    Deviations from the paper: SB3's defaults where the configuration does not say otherwise. The cross-entropy is the
    Kullback-Leibler divergence plus the target's entropy. Importance weights are divided by the largest in the batch. Each
    environment acts with a new noise at every step. The dueling streams' gradient into the convolutions is not scaled.
    """

    preset: ClassVar[dict[str, Any]] = {
        "double_q": True,
        "prioritized_replay": True,
        "prioritized_replay_alpha": 0.5,
        "n_steps": 3,
        "exploration_initial_eps": 0.0,
        "exploration_final_eps": 0.0,
    }
    preset_policy_kwargs: ClassVar[dict[str, Any]] = {"head": "categorical", "dueling": True, "noisy": True}


class BTR(Preset):
    """
    Beyond the Rainbow (Clark et al. 2024, arXiv 2411.03820): implicit quantiles, Munchausen, dueling, noisy, prioritized and
    3-step, on the spectrally normalized IMPALA torso of ``ImpalaCnnPolicy``.

    On: ``munchausen``, ``prioritized_replay`` with exponent 0.2, ``n_steps=3``, ``gamma=0.997``, ``batch_size=256``, final
    epsilon 0.01, ``policy_kwargs=dict(head="implicit_quantile", dueling=True, noisy=True)`` with 8 fractions everywhere, and
    Adam's epsilon 0.005 / 256. The parameters are those of :class:`ComposableDQN`; ``zoo_configs/btr.yml`` has what belongs to
    a game: 64 environments, one update per step of all of them, target network every 500 updates.

    Deviations from the paper: importance weights with beta from 0.4 to 1, as elsewhere in this package (the paper names
    none). The Munchausen bonus comes from the target network, as in the Munchausen paper; the authors' code asks the online
    one. The priority is the absolute error of the expected return, where the authors' code takes the mean absolute error over
    all pairs of quantiles. The policy of the target has 8 fractions of its own. Epsilon stays at
    0.01 in place of 0 for the second half of the training. Only the first reward of a window gets the Munchausen bonus.
    ``MlpPolicy`` has no IMPALA torso.
    """

    preset: ClassVar[dict[str, Any]] = {
        "batch_size": 256,
        "gamma": 0.997,
        "n_steps": 3,
        "exploration_final_eps": 0.01,
        "prioritized_replay": True,
        "prioritized_replay_alpha": 0.2,
        "munchausen": True,
    }
    preset_policy_kwargs: ClassVar[dict[str, Any]] = {
        "head": "implicit_quantile",
        "dueling": True,
        "noisy": True,
        "n_fractions": 8,
        "n_target_fractions": 8,
        "n_acting_fractions": 8,
        "optimizer_kwargs": {"eps": 0.005 / 256},
    }
