"""The main job on the embedded robot: collect, train, export, launch, break things, replay, report."""
