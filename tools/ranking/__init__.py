"""Ordering found pages by meaning and diversity."""
