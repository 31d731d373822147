"""The operator's page: what it shows (`view`, `overlay`, `state`), where it is served (`web`), how it is started (`start`)."""
