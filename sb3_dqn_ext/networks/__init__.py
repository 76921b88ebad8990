"""Network parts: torsos that make features of observations, and the streams and value heads on top."""

from sb3_dqn_ext.networks.heads import HEADS, ActionValues, ValueHead, make_head
from sb3_dqn_ext.networks.noisy import Draw, NoisyLinear
from sb3_dqn_ext.networks.streams import DuelingStreams, Stream, make_streams
from sb3_dqn_ext.networks.torsos import DataEfficientConv, ImpalaConv, MlpTorso, NatureConv

__all__ = [
    "HEADS",
    "ActionValues",
    "DataEfficientConv",
    "Draw",
    "DuelingStreams",
    "ImpalaConv",
    "MlpTorso",
    "NatureConv",
    "NoisyLinear",
    "Stream",
    "ValueHead",
    "make_head",
    "make_streams",
]
