"""The gate: evidence on a changed bundle, the rules it is judged by, the report."""
