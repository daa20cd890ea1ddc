"""Sources: what fetches files that do not land by themselves."""
