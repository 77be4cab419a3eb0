"""The real command line in processes of its own, against the fault server. Mirrors promises, not modules."""
