"""Re-simulation: recorded actions in a simulated world, how far they diverge, where the simulator may be trusted."""
