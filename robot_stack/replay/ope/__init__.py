"""Off-policy evaluation: what a policy would earn, from the logs of another one."""
