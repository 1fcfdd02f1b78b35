"""What finished runs say: statistics of a comparison, and the report."""
