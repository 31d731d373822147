"""Replay, re-simulation, lock-step runs and reports."""
