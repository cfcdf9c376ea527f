"""Tools: search providers behind one protocol, the embedded index, re-ranking, and the cleaning of foreign text.

Nothing here knows of the graph or of the language model.
"""
