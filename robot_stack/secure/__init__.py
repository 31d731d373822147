"""What keeps strangers out beside the seals: enclaves of DDS security from the one description of the graph, keys for bundles."""
