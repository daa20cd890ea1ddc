"""What the bytes of a file mean: `format` says what a format must be able to do.

`registry` lists the formats, one module each; `text` is what those have in common whose files are
lines of text. `types` says which texts a column accepts, and `rows` puts both into SQL.
"""
