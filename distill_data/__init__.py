"""Turn seed knowledge into training data by asking a teacher model."""

__version__ = "0.1.0"
