"""Workbooks: the cells of a spreadsheet file, as they are stored, for the format `excel`."""
