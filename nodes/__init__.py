"""Nodes: the steps of the state machine, each a function from state and settings to an update of the state."""
