"""PostgreSQL and S3 on loopback for demo and tests, and the sample data."""
