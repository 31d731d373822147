"""Recording demonstrations: what is heard on its way to a log, the session around it, and what an episode must be like."""
