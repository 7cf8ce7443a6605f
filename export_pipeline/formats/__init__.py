"""How rows become a file: one file for each format, which declares `FORMAT`. To add one, copy a file and change it."""
