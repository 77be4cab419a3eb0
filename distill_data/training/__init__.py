"""Student objectives that no kept trainer has: small functions of tensors. Knows no file, no model and no trainer."""
