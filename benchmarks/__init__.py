"""What is fast, measured side by side: every number is a ratio taken in one run."""
