"""Learning rules: targets, losses, and the step that applies them."""

from sb3_dqn_ext.learning.learn_step import LearnStep, Munchausen, TDOutput

__all__ = ["LearnStep", "Munchausen", "TDOutput"]
