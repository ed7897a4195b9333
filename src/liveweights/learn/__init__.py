"""Feedback to reward, reward to advantage, advantage to weights."""
