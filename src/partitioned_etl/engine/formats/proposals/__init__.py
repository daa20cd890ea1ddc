"""What `infer` finds in a sample: how its text is laid out, and how its values are spelled.

Nothing here takes part in a load, which relies on declarations alone.
"""
