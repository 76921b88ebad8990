"""Network parts: torsos that make features of pixels, and the streams and value heads on top."""

from sb3_dqn_ext.networks.heads import DuelingStreams, ScalarHead, ValueHead, make_streams
from sb3_dqn_ext.networks.torsos import DataEfficientConv, NatureConv

__all__ = ["DataEfficientConv", "DuelingStreams", "NatureConv", "ScalarHead", "ValueHead", "make_streams"]
