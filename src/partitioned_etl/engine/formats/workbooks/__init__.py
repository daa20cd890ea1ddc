"""Workbooks: the cells of a spreadsheet file, exactly as stored, for the format `excel`.

`workbook.py` says what a workbook is and opens one of any kind; `xlsx.py`, `ods.py` and `xls.py`
each read one kind.
"""
