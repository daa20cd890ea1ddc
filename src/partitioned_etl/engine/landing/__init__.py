"""Where files land: `landing` says what a landing must be able to do, `local` is a folder."""
