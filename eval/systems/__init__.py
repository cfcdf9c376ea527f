"""The systems that an evaluation compares, one small protocol for all."""
