"""Ranking metrics and the statistics that compare systems on them."""
