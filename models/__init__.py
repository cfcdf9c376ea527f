"""Models: the LLaMA backbone, what is read out of it (attention, entropy, likelihood), and the sentence encoder.

Nothing here knows of the graph, of searches or of users. Importing the package does not import torch.
"""
