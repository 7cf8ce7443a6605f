"""What happened: export jobs, their audit log and what they may have left behind, in the schema `exports`."""
