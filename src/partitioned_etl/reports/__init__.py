"""Pictures, pages and messages for people, made from what `ingest` reports; no Dagster here."""
