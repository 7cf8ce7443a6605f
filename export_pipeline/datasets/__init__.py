"""What can be exported: one file for each dataset, which declares `DATASET`. To add one, copy a file and change it."""
