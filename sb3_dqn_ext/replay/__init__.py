"""Experience replay: single-frame storage, n-step windows and priorities behind SB3's buffer interface."""

from sb3_dqn_ext.replay.batch import Batch, batch_from_samples
from sb3_dqn_ext.replay.buffer import FrameReplayBuffer
from sb3_dqn_ext.replay.frames import FrameStack, find_frame_stack
from sb3_dqn_ext.replay.sum_tree import SumTree

__all__ = ["Batch", "FrameReplayBuffer", "FrameStack", "SumTree", "batch_from_samples", "find_frame_stack"]
