"""Pictures and pages for people, made from what `ingest` tells; nothing here knows of Dagster."""
