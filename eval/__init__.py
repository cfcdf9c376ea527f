"""Evaluation: where the target ends up, and what retrieval changes. May use every other package."""
