"""What evaluations share: rows that are kept, so that a killed one goes on; processes that end with their parent."""
