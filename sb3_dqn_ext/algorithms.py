"""Presets: ComposableDQN with the extensions of one paper switched on."""

import difflib
import inspect
from typing import Any, ClassVar

from sb3_dqn_ext.composable_dqn import ComposableDQN

_SIGNATURE = inspect.signature(ComposableDQN.__init__)


def _hint(arguments: dict[str, Any]) -> str:
    """
    :param arguments: keyword arguments as the user wrote them
    :return: what the first unknown one may have meant
    """
    unknown = next((name for name in arguments if name not in _SIGNATURE.parameters), "")
    if unknown == "dueling":
        return "; it belongs into policy_kwargs=dict(dueling=True)"
    nearest = difflib.get_close_matches(unknown, _SIGNATURE.parameters, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


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
        given["policy_kwargs"] = self.preset_policy_kwargs | (given.get("policy_kwargs") or {})
        super().__init__(**(self.preset | given))

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
