"""Where files go: one file for each kind of destination, which declares `DESTINATION`."""
