"""Scores of models that stand up: the same cases of each, paired statistics, ties said as ties."""
