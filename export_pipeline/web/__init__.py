"""What is served over HTTP. Each answer is one call into the flow; knows nothing of Dagster."""
