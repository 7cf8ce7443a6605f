"""The ready-made packages: one file each, named as its package, declaring PACKAGE."""
